"""`flowweaver doctor`: what it gathers, what it leaves out, and that it works where most is missing."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import apsw
import pytest

from flowweaver.cli import doctor_archive
from flowweaver.operator.rights import needed
from tests.cluster import assets
from tests.cluster.control_plane import write_kubeconfig
from tests.cluster.operators import render_chart
from tests.cluster.workflows import finish, workflow

SECRET = "hunter2-Zk9"
METRICS = f"""\
# HELP flowweaver_store_commit_duration_seconds Commits.
workqueue_depth{{name="workflow"}} 7.0
flowweaver_store_commit_duration_seconds_bucket{{le="0.01"}} 90.0
flowweaver_store_commit_duration_seconds_bucket{{le="0.5"}} 99.0
flowweaver_store_commit_duration_seconds_bucket{{le="2.5"}} 100.0
flowweaver_store_commit_duration_seconds_bucket{{le="+Inf"}} 100.0
flowweaver_store_commit_duration_seconds_sum 2.0
flowweaver_store_commit_duration_seconds_count 100.0
flowweaver_store_errors_total{{kind="full"}} 3.0
flowweaver_store_errors_total{{kind="io"}} 0.0
odd{{url="https://u:{SECRET}@h/?token={SECRET}"}} 1.0
"""
FAILING = f"""
- name: secretive
  value: {SECRET}
- name: bad
  dependsOn: [secretive]
  shell: {{script: 'echo "login with password={SECRET} refused" >&2; exit 7'}}
"""
ALONE = ["doctor", "--no-cluster"]


@pytest.fixture
def served() -> Iterator[tuple[str, dict[str, tuple[int, str]]]]:
    """An address, and what is answered there by path."""
    answers = {"/healthz": (200, "ok\n"), "/readyz": (200, "ok\n"), "/metrics": (200, METRICS)}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, text = answers[self.path]
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_port}", answers
        server.shutdown()
        thread.join()


def parts_of(report: str) -> dict[str, list[str]]:
    """The lines below each heading."""
    found: dict[str, list[str]] = {}
    for line in report.splitlines():
        if line.startswith("== "):
            found[line.removeprefix("== ")] = lines = []
        elif line:
            lines.append(line)
    return found


def unpacked(content: bytes) -> dict[str, str]:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return {entry.name: archive.extractfile(entry).read().decode() for entry in archive}


def test_where_nothing_is_there_it_says_what_was_not_looked_at(flowweaver, folder):
    result = flowweaver("doctor", PATH=str(folder))

    assert result.returncode == 0, result.stderr
    parts = parts_of(result.stdout)
    assert parts["state file"] == ["not looked at: no state file is named; --state FILE names one"]
    assert parts["health"] == ["not looked at: no operator is named; --url http://HOST:8080 names one"]
    assert parts["cluster"] == ["not looked at: there is no kubectl here"]
    assert parts["what to look at first"] == ["nothing that stands out"]
    names = [line.split()[0] for line in parts["versions"]]
    assert {"flowweaver", "python", "sqlite", "apsw", "kopf", "system"} <= set(names)


def test_a_state_file_is_told_with_what_failed_and_without_what_it_holds(flowweaver, manifest):
    more = f"  params: [{{name: given, value: {SECRET}}}]\n"
    assert flowweaver("run", manifest(FAILING, more=more), "--state", "state.db").returncode == 1

    result = flowweaver(*ALONE, "--state", "state.db")

    lines = parts_of(result.stdout)["state file"]
    assert "integrity  it holds together" in lines
    assert "runs: 1 failed" in lines
    (told,) = [line for line in lines if line.startswith("  bad (shell)")]
    assert told == "  bad (shell), 1 attempts: TaskFailed: ExitCode: [left out]"
    assert SECRET not in result.stdout

    more = flowweaver(*ALONE, "--state", "state.db", "--messages").stdout
    assert "with exit code 7: login with password=[left out] refused" in more
    assert SECRET not in more


def test_a_file_that_is_damaged_is_what_to_look_at_first(flowweaver, manifest, folder):
    tasks = "".join(f"- name: t{number}\n  value: {'x' * 2000}\n" for number in range(50))
    assert flowweaver("run", manifest(tasks), "--state", "state.db").returncode == 0
    content = bytearray((folder / "state.db").read_bytes())
    content[8192 : len(content) // 2] = b"\xff" * (len(content) // 2 - 8192)
    (folder / "state.db").write_bytes(content)

    result = flowweaver(*ALONE, "--state", "state.db")

    assert result.returncode == 0
    assert any(line.startswith("state file: ") for line in parts_of(result.stdout)["what to look at first"])


def test_a_file_that_contradicts_itself_is_what_to_look_at_first(flowweaver, manifest, folder):
    assert flowweaver("run", manifest("- name: good\n  value: 1\n"), "--state", "state.db").returncode == 0
    connection = apsw.Connection(str(folder / "state.db"))
    connection.execute("UPDATE task_runs SET small_result = NULL")
    connection.close()

    first = parts_of(flowweaver(*ALONE, "--state", "state.db").stdout)["what to look at first"]

    assert any(line.endswith('task "good" is completed without a result') for line in first)


def test_a_file_that_is_none_of_ours_is_told(flowweaver, folder):
    (folder / "other.db").write_text("something else")

    assert "! other.db" in flowweaver(*ALONE, "--state", "other.db").stdout


def test_health_and_the_slowest_commits_are_told_from_an_address(flowweaver, served):
    address, answers = served
    answers["/readyz"] = (503, "store: it can not be written\nwatch: it has not started\n")

    result = flowweaver(*ALONE, "--url", f"http://ada:{SECRET}@{address}")

    lines = parts_of(result.stdout)["health"]
    assert lines[0] == f"asked: http://[left out]@{address}"
    assert "/healthz: 200 ok" in lines
    assert "! /readyz: 503 store: it can not be written; watch: it has not started" in lines
    assert 'workqueue_depth{name="workflow"}  7' in lines
    assert "commits: 100, mean 20.0 ms, 50% within 0.01 s, 99% within 0.5 s, the slowest within 2.5 s" in lines
    assert '! flowweaver_store_errors_total{kind="full"} 3' in lines
    assert not any('kind="io"' in line for line in lines)
    assert SECRET not in result.stdout


def test_an_operator_that_does_not_answer_is_told(flowweaver):
    result = flowweaver(*ALONE, "--url", "http://127.0.0.1:1")

    assert result.returncode == 0
    assert "! http://127.0.0.1:1 does not answer: ConnectError" in result.stdout


def test_settings_are_told_and_foreign_values_are_not(flowweaver):
    environment = {
        "FLOWWEAVER_WORKERS": "4",
        "FLOWWEAVER_MADE_UP": SECRET,
        "OTEL_EXPORTER_OTLP_HEADERS": f"x={SECRET}",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"https://u:{SECRET}@collector",
        "DATABASE_PASSWORD": SECRET,
    }
    result = flowweaver(*ALONE, **environment)

    lines = parts_of(result.stdout)["settings"]
    assert "FLOWWEAVER_WORKERS=4" in lines
    assert "FLOWWEAVER_MADE_UP=[left out]" in lines
    assert "OTEL_EXPORTER_OTLP_ENDPOINT=https://[left out]@collector" in lines
    assert "DATABASE_PASSWORD" not in result.stdout
    assert SECRET not in result.stdout


def test_an_archive_holds_the_report_and_the_files_and_no_secret(flowweaver, manifest, folder, served):
    flowweaver("run", manifest(FAILING), "--state", "state.db")
    arguments = [*ALONE, "--state", "state.db", "--url", f"http://{served[0]}"]

    result = flowweaver(*arguments, "--output", "doctor.tar.gz", LEAK=SECRET)

    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("doctor.tar.gz: ")
    files = unpacked((folder / "doctor.tar.gz").read_bytes())
    assert set(files) == {"flowweaver-doctor/report.txt", "flowweaver-doctor/health/metrics.txt"}
    assert "== state file" in files["flowweaver-doctor/report.txt"]
    assert "workqueue_depth" in files["flowweaver-doctor/health/metrics.txt"]
    assert not any(SECRET in text for text in files.values())

    again = flowweaver(*ALONE, "--output", "doctor.tar.gz")
    assert again.returncode == 2
    assert "is there already" in again.stderr


def test_an_archive_can_go_to_the_standard_output(folder):

    command = [sys.executable, "-m", "flowweaver", *ALONE, "--output", "-"]
    ended = subprocess.run(command, cwd=folder, capture_output=True, check=True)

    assert "flowweaver-doctor/report.txt" in unpacked(ended.stdout)


def test_an_archive_has_an_archives_name(flowweaver):
    result = flowweaver(*ALONE, "--output", "report.txt")

    assert result.returncode == 2
    assert "call it report.txt.tar.gz" in result.stderr


def test_an_archive_comes_back_as_it_was():
    files = {"report.txt": b"a report", "health/metrics.txt": b"metrics"}

    assert doctor_archive.unpacked(doctor_archive.packed(files)) == {
        "report.txt": "a report",
        "health/metrics.txt": "metrics",
    }


@pytest.mark.parametrize("name", ["../up.txt", "/root.txt", "a/../b.txt", "a b", ""])
def test_a_pod_can_not_give_a_file_a_name_that_leads_elsewhere(name):
    with pytest.raises(ValueError, match="which no report does"):
        doctor_archive.unpacked(doctor_archive.packed({name: b"x"}))


def test_what_is_no_archive_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="it is no archive"):
        doctor_archive.unpacked(b"Usage: flowweaver [OPTIONS] COMMAND [ARGS]...")
    monkeypatch.setattr(doctor_archive, "LARGEST", 10)
    with pytest.raises(ValueError, match="which no report does"):
        doctor_archive.unpacked(doctor_archive.packed({"a.txt": b"x" * 6, "b.txt": b"x" * 6}))


# ------------------------------------------------------------------------------------------------------- in a cluster


@pytest.fixture
def administrator(control_plane, namespace) -> dict[str, str]:
    """The environment of who may do everything."""
    return {
        "KUBECONFIG": str(control_plane.kubeconfig),
        "PATH": f"{assets.find('kubectl').parent}:{os.environ['PATH']}",
    }


def pod(account: str, **more: object) -> dict[str, object]:
    """An operator's pod as the chart makes one; nothing runs it here."""
    env = [
        {"name": "FLOWWEAVER_NAMESPACE", "value": more.pop("watched", "")},
        {"name": "FLOWWEAVER_INSTANCE", "value": "default"},
        {"name": "FLOWWEAVER_FUNCTIONS", "value": ""},
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "SMTP_PASSWORD", "value": SECRET},
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "operator-0", "labels": {"app.kubernetes.io/part-of": "flowweaver"}},
        "spec": {
            "serviceAccountName": account,
            "containers": [{"name": "operator", "image": "flowweaver-operator:1", "env": env}],
        },
    }


@pytest.mark.control_plane
@pytest.mark.slow
def test_an_operator_of_a_cluster_is_told_with_its_rights_though_its_pod_does_not_run(
    flowweaver, operator, kubectl, administrator, namespace
):
    started = operator()
    (account,) = [found["metadata"]["name"] for found in started.rendered if found["kind"] == "ServiceAccount"]
    kubectl.apply(pod(account, watched=namespace))

    result = flowweaver("doctor", "--namespace", namespace, **administrator)

    parts = parts_of(result.stdout)
    name = f"{namespace}/operator-0"
    assert "the definition of Workflows: v1alpha1 served, stored: ['v1alpha1']" in parts["cluster"]
    told = parts[f"pod {name}"]
    assert f"FLOWWEAVER_NAMESPACE={namespace}" in told
    assert {"FLOWWEAVER_FUNCTIONS=", "POD_NAME=(told by Kubernetes)", "SMTP_PASSWORD=[left out]"} <= set(told)
    assert any(line.startswith("! the pod is not ready: ") for line in told)
    assert any(line.startswith("not looked at: inside of the pod: kubectl: ") for line in told)
    assert parts[f"log of {name}"] == ["log.txt: 0 lines, 0 of them warnings and errors"]
    (rights,) = parts[f"permissions of {name}"]
    assert rights == f"system:serviceaccount:{namespace}:{account} has 10 of the 10 rights that it needs"
    assert SECRET not in result.stdout

    (role,) = [
        found["metadata"]["name"]
        for found in kubectl.json("get", "roles")["items"]
        if any("workflows" in rule["resources"] for rule in found["rules"])
    ]
    rules = json.dumps([{"op": "remove", "path": "/rules/1"}])
    kubectl("patch", "role", role, "--type=json", "-p", rules)

    again = parts_of(flowweaver("doctor", "-n", namespace, **administrator).stdout)

    assert again[f"permissions of {name}"][1:] == [f"! it may not patch workflows.flowweaver.io/status in {namespace}"]
    assert (
        f"permissions of {name}: it may not patch workflows.flowweaver.io/status in {namespace}"
        in again["what to look at first"]
    )


@pytest.mark.control_plane
@pytest.mark.slow
def test_beside_a_running_operator_it_tells_of_its_health_state_and_rights(flowweaver, operator, kubectl, namespace):
    started = operator(unsafeBodies=["shell"])
    kubectl.apply(workflow("bad", {"name": "bad", "shell": {"script": f"echo token={SECRET} >&2; exit 1"}}))
    finish(kubectl, "bad")
    own = {name: value for name, value in started.environment.items() if name not in {"PATH", "HOME"}}

    # As in its pod: the same environment, and an API server that is told of by a variable.
    result = flowweaver("doctor", "--no-cluster", KUBERNETES_SERVICE_HOST="127.0.0.1", **own)

    assert result.returncode == 0, result.stderr
    parts = parts_of(result.stdout)
    assert "/readyz: 200 ok" in parts["health"]
    assert any(line.startswith("commits: ") for line in parts["health"])
    assert "integrity  it holds together" in parts["state file"]
    assert f"failed: {namespace}/bad" in " ".join(parts["state file"])
    assert parts["permissions"] == ["this pod has 10 of the 10 rights that it needs"]
    assert SECRET not in result.stdout


@pytest.mark.control_plane
def test_who_may_see_nothing_gets_what_can_be_told_all_the_same(
    flowweaver, control_plane, kubectl, administrator, folder, namespace
):
    kubectl("create", "serviceaccount", "nobody")
    config = folder / "nobody"
    token = kubectl("create", "token", "nobody").strip()
    write_kubeconfig(config, url=control_plane.url, authority=control_plane.authority, token=token, namespace=namespace)

    result = flowweaver("doctor", **{**administrator, "KUBECONFIG": str(config)})

    assert result.returncode == 0, result.stderr
    assert "(Forbidden)" in " ".join(parts_of(result.stdout)["cluster"])
    assert "flowweaver" in parts_of(result.stdout)["versions"][0]
    assert token not in result.stdout


@pytest.mark.control_plane
@pytest.mark.parametrize("watched", [[], ["shop", "depot"]])
def test_the_rights_that_are_asked_for_are_those_that_the_chart_grants(watched):
    rendered = render_chart("operator", "here", {"namespaces": watched})
    granted = {
        (verb, group, resource, name, found["metadata"].get("namespace", ""))
        for found in rendered
        if found["kind"] in {"Role", "ClusterRole"}
        and not {"helm.sh/hook"} & set(found["metadata"].get("annotations") or {})
        and not any("aggregate" in label for label in found["metadata"]["labels"])
        for rule in found["rules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
    }

    asked = {
        (
            right.verb,
            right.group,
            "/".join(filter(None, (right.resource, right.subresource))),
            right.name,
            right.namespace,
        )
        for right in needed(namespaces=watched, own_namespace="here", instance="default")
    }

    assert asked == granted
