"""Settings from the environment; a wrong one is one clear error."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowweaver.errors import UserError
from flowweaver.operator.settings import Settings
from flowweaver.policy import Policy, UnsafeBody


def test_the_defaults_allow_data_only():
    settings = Settings.from_environment({})
    assert settings == Settings()
    assert settings.policy() == Policy()
    assert (settings.instance, settings.workers, settings.http_address()) == ("default", 16, ("", 8080))


def test_a_level_may_be_written_in_capitals():
    assert Settings.from_environment({"FLOWWEAVER_LOG_LEVEL": "WARNING"}).log_level == "WARNING"


def test_every_setting_can_be_given_by_the_environment():
    settings = Settings.from_environment(
        {
            "FLOWWEAVER_STATE": "/data/state.db",
            "FLOWWEAVER_NAMESPACE": "a, b",
            "FLOWWEAVER_INSTANCE": "blue",
            "FLOWWEAVER_WORKERS": "4",
            "FLOWWEAVER_HTTP": "127.0.0.1:0",
            "FLOWWEAVER_FUNCTIONS": "shop.*,mail",
            "FLOWWEAVER_UNSAFE_BODIES": "shell,python.source",
            "FLOWWEAVER_HTTP_ALLOW": "10.0.0.0/8,{namespace}.svc",
            "FLOWWEAVER_ADOPT": "true",
            "FLOWWEAVER_GRACE_SECONDS": "5",
            "FLOWWEAVER_BACKUP_FOLDER": "/backups",
            "FLOWWEAVER_BACKUP_EVERY": "1h30m",
            "FLOWWEAVER_BACKUP_KEEP": "3",
            "FLOWWEAVER_LOG_FORMAT": "json",
            "FLOWWEAVER_LOG_LEVEL": "debug",
            "FLOWWEAVER_LOG_LEVELS": "flowweaver.stores=debug, flowweaver.runs=Warning,",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
            "POD_NAMESPACE": "system",
            "POD_NAME": "flowweaver-0",
        }
    )
    assert settings == Settings(
        state=Path("/data/state.db"),
        namespaces=("a", "b"),
        instance="blue",
        workers=4,
        http="127.0.0.1:0",
        functions=("shop.*", "mail"),
        unsafe_bodies=frozenset({UnsafeBody.SHELL, UnsafeBody.PYTHON_SOURCE}),
        http_allow=("10.0.0.0/8", "{namespace}.svc"),
        adopt=True,
        grace_seconds=5.0,
        backup_folder=Path("/backups"),
        backup_every=5400.0,
        backup_keep=3,
        log_format="json",
        log_level="debug",
        log_levels=(("flowweaver.stores", "debug"), ("flowweaver.runs", "warning")),
        tracing_endpoint="http://collector:4318",
        own_namespace="system",
        own_name="flowweaver-0",
    )


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("FLOWWEAVER_WORKERS", "many", "FLOWWEAVER_WORKERS"),
        ("FLOWWEAVER_WORKERS", "0", "--workers"),
        ("FLOWWEAVER_HTTP", "8080", "--http"),
        ("FLOWWEAVER_HTTP", ":99999", "--http"),
        ("FLOWWEAVER_UNSAFE_BODIES", "shell,java", "java"),
        ("FLOWWEAVER_ADOPT", "maybe", "FLOWWEAVER_ADOPT"),
        ("FLOWWEAVER_LOG_FORMAT", "xml", "--log-format"),
        ("FLOWWEAVER_GRACE_SECONDS", "-1", "--grace-seconds"),
        ("FLOWWEAVER_BACKUP_EVERY", "6", "FLOWWEAVER_BACKUP_EVERY"),
        ("FLOWWEAVER_BACKUP_EVERY", "0s", "--backup-every"),
        ("FLOWWEAVER_BACKUP_KEEP", "0", "--backup-keep"),
        ("FLOWWEAVER_LOG_LEVEL", "loud", "--log-level"),
        ("FLOWWEAVER_LOG_LEVELS", "flowweaver.stores", "FLOWWEAVER_LOG_LEVELS"),
        ("FLOWWEAVER_LOG_LEVELS", "flowweaver.stores=loud", "FLOWWEAVER_LOG_LEVELS"),
        ("FLOWWEAVER_LOG_LEVELS", "httpx=debug", '"httpx" is no module of FlowWeaver'),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317", "--tracing-endpoint"),
    ],
)
def test_a_wrong_setting_is_named(variable, value, named):
    with pytest.raises(UserError, match=named):
        Settings.from_environment({variable: value})
