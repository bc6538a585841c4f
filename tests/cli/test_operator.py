"""`flowweaver operator`: options and environment become settings; what is wrong is said before anything starts."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from flowweaver import operator
from flowweaver.cli import main
from flowweaver.operator.settings import VARIABLES, Settings
from flowweaver.policy import UnsafeBody


@pytest.fixture
def settings_of(monkeypatch):
    """What the operator would be started with."""
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)

    def settings_of(*arguments: str, **environment: str) -> Settings:
        started: list[Settings] = []
        monkeypatch.setattr(operator, "serve", lambda settings: started.append(settings) or 0)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        assert main(["operator", *arguments]) == 0
        return started[0]

    return settings_of


def test_without_options_everything_has_its_default(settings_of):
    assert settings_of() == Settings()


def test_every_setting_has_an_option(settings_of):
    settings = settings_of(
        *("--state", "/data/state.db", "--namespace", "a", "--namespace", "b", "--instance", "blue"),
        *("--workers", "3", "--http", "127.0.0.1:9", "--functions", "etl.*", "--functions", "jobs"),
        *("--unsafe-bodies", "shell,thread", "--http-allow", "10.0.0.0/8", "--http-allow", "api.internal"),
        *("--adopt", "--grace-seconds", "7", "--log-format", "json", "--log-level", "debug"),
        *("--log-levels", "flowweaver.stores=warning", "--tracing-endpoint", "https://collector"),
    )

    assert settings == Settings(
        state=Path("/data/state.db"),
        namespaces=("a", "b"),
        instance="blue",
        workers=3,
        http="127.0.0.1:9",
        functions=("etl.*", "jobs"),
        unsafe_bodies=frozenset({UnsafeBody.SHELL, UnsafeBody.THREAD}),
        http_allow=("10.0.0.0/8", "api.internal"),
        adopt=True,
        grace_seconds=7.0,
        log_format="json",
        log_level="debug",
        log_levels=(("flowweaver.stores", "warning"),),
        tracing_endpoint="https://collector",
    )


def test_the_help_names_the_variable_of_every_setting(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    main(["operator", "--help"])

    shown = re.findall(r"\((FLOWWEAVER_\w+)\)", capsys.readouterr().out)
    assert sorted(shown) == sorted(variable for variable in VARIABLES if variable.startswith("FLOWWEAVER_"))


def test_the_environment_is_read_and_an_option_wins(settings_of):
    settings = settings_of("--workers", "5", FLOWWEAVER_WORKERS="9", FLOWWEAVER_INSTANCE="green")

    assert settings == dataclasses.replace(Settings(), workers=5, instance="green")


def test_an_option_can_switch_off_what_the_environment_switches_on(settings_of):
    assert settings_of("--no-adopt", FLOWWEAVER_ADOPT="true").adopt is False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", "0"], "--workers"),
        (["--workers", "many"], "--workers"),
        (["--http", "nowhere"], "--http"),
        (["--unsafe-bodies", "shel"], '--unsafe-bodies: "shel"'),
        (["--grace-seconds", "-1"], "--grace-seconds"),
        (["--log-format", "xml"], "--log-format"),
        (["--log-levels", "flowweaver=loud"], "--log-levels"),
        (["--tracing-endpoint", "collector:4317"], "--tracing-endpoint"),
    ],
)
def test_a_setting_that_is_wrong_exits_2_with_its_name(arguments, message, capsys):
    assert main(["operator", *arguments]) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert "Traceback" not in errors


def test_a_variable_that_is_wrong_exits_2_with_its_name(monkeypatch, capsys):
    monkeypatch.setenv("FLOWWEAVER_WORKERS", "many")

    assert main(["operator"]) == 2
    assert 'FLOWWEAVER_WORKERS is "many"' in capsys.readouterr().err
