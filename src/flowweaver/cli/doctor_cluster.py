"""What a cluster tells of its operators, through the user's own kubectl."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flowweaver.cli.cluster_kubectl import Kubectl, KubectlFailed
from flowweaver.cli.doctor_archive import unpacked
from flowweaver.cli.doctor_here import known_variables
from flowweaver.cli.doctor_metrics import look_at
from flowweaver.cli.doctor_parts import Part
from flowweaver.cli.doctor_redaction import LEFT_OUT

LABEL = "app.kubernetes.io/part-of=flowweaver"
LOG_LINES = 2000
SHOWN_LINES = 15
"""Of the warnings and errors in a log; all of it is in the archive."""

EXEC_SECONDS = 120.0
"""Checking a large state file takes a while."""

_TROUBLE = re.compile(r'^\S+ (?:WARNING|ERROR|CRITICAL) |"level": ?"(?:warning|error|critical)"')
_PORT = re.compile(r":(\d+)$")


def overview(part: Part, cluster: Kubectl) -> list[dict[str, Any]]:
    """The cluster itself; gives the operator's pods. Raises `FlowWeaverError` where nothing can be asked."""
    version = json.loads(cluster.text("version", "-o", "json"))
    part.table(
        (name, (version.get(key) or {}).get("gitVersion", "?"))
        for name, key in (("kubectl", "clientVersion"), ("server", "serverVersion"))
    )
    try:
        definition = cluster.get("customresourcedefinitions.apiextensions.k8s.io", "workflows.flowweaver.io")
        served = [each["name"] for each in definition["spec"]["versions"] if each["served"]]
        stored = definition["status"].get("storedVersions")
        part.say(f"the definition of Workflows: {', '.join(served)} served, stored: {stored}")
    except KubectlFailed as error:
        part.wrong(f"the definition of Workflows: {error}")
    arguments = [] if cluster.namespace else ["--all-namespaces"]
    found = cluster.json("get", "pods", "-l", LABEL, *arguments)["items"]
    pods = [pod for pod in found if _container(pod) is not None]
    if not pods:
        where = f"in namespace {cluster.namespace}" if cluster.namespace else "in this cluster"
        part.missing(f"no pod of an operator {where}; --namespace names another one")
    return pods


def pod(part: Part, cluster: Kubectl, found: Mapping[str, Any], *, options: Sequence[str] = ()) -> None:
    """One operator: its pod, its settings, and what the same command says inside of it with these options."""
    name = found["metadata"]["name"]
    container = _container(found) or {}
    statuses = found.get("status", {}).get("containerStatuses") or [{}]
    status = statuses[0]
    part.table(
        [
            ("image", container.get("image", "")),
            ("phase", found.get("status", {}).get("phase")),
            ("ready", f"{status.get('ready')}, on node {found['spec'].get('nodeName')}"),
            ("restarts", status.get("restartCount", 0)),
            ("resources", json.dumps(container.get("resources", {}))),
        ]
    )
    if not status.get("ready"):
        part.wrong(f"the pod is not ready: {_why(found, status)}")
    if status.get("restartCount"):
        last = (status.get("lastState") or {}).get("terminated") or {}
        part.wrong(
            f"{status['restartCount']} restarts, the last one: {last.get('reason')}, exit code {last.get('exitCode')}"
        )
    for variable in container.get("env") or ():
        value = variable.get("value", "") if variable["name"] in known_variables() else LEFT_OUT
        part.say(f"{variable['name']}={'(told by Kubernetes)' if 'valueFrom' in variable else value}")
    _inside(part, cluster, name, container, options)


def _inside(part: Part, cluster: Kubectl, name: str, container: Mapping[str, Any], options: Sequence[str]) -> None:
    command = ["exec", name, "-c", str(container.get("name")), "--", "flowweaver", "doctor"]
    try:
        content = cluster.content(*command, "--no-cluster", "--output", "-", *options, patience_seconds=EXEC_SECONDS)
        files = unpacked(content)
    except (KubectlFailed, ValueError) as error:
        part.missing(f"inside of the pod: {error}")
        part.say("health and metrics, through the API server:")
        look_at(part, lambda path: _through_the_api(cluster, name, container, path), files=f"pods/{name}")
        return
    for file, text in files.items():
        part.keep(f"pods/{name}/{file}", text)
    part.say("the same command inside of the pod says:")
    for line in files.get("report.txt", "").splitlines():
        part.say(f"    {line}")
        if line.startswith("! "):
            part.problems.append(f"{part.title}: {line.removeprefix('! ')}")


def _through_the_api(cluster: Kubectl, name: str, container: Mapping[str, Any], path: str) -> tuple[int, str]:
    ports = container.get("ports") or [{"containerPort": 8080}]
    address = f"/api/v1/namespaces/{cluster.namespace}/pods/{name}:{ports[0]['containerPort']}/proxy{path}"
    return 200, cluster.text("get", "--raw", address)


def logs(part: Part, cluster: Kubectl, found: Mapping[str, Any]) -> None:
    """The end of its log, and of the one before where it was restarted."""
    name, container = found["metadata"]["name"], _container(found) or {}
    lives = [("log.txt", ())]
    statuses = found.get("status", {}).get("containerStatuses") or [{}]
    if statuses[0].get("restartCount"):
        lives.append(("log-before.txt", ("--previous",)))  # type: ignore[arg-type]
    for file, options in lives:
        try:
            text = cluster.text("logs", name, "-c", str(container.get("name")), f"--tail={LOG_LINES}", *options)
        except KubectlFailed as error:
            part.missing(f"{file}: {error}")
            continue
        part.keep(f"pods/{name}/{file}", text)
        lines = text.splitlines()
        trouble = [line for line in lines if _TROUBLE.search(line)]
        last = "; the last of these:" if trouble else ""
        part.say(f"{file}: {len(lines)} lines, {len(trouble)} of them warnings and errors{last}")
        for line in trouble[-SHOWN_LINES:]:
            part.say(f"    {line}")


def permissions(part: Part, cluster: Kubectl, found: Mapping[str, Any]) -> None:
    """Whether the operator's service account may do all that it must, as the API server answers."""
    from flowweaver.operator.rights import needed

    account = found["spec"].get("serviceAccountName", "default")
    namespace = found["metadata"]["namespace"]
    environment = {entry["name"]: entry.get("value", "") for entry in (_container(found) or {}).get("env") or ()}
    watched = [name.strip() for name in environment.get("FLOWWEAVER_NAMESPACE", "").split(",") if name.strip()]
    instance = environment.get("FLOWWEAVER_INSTANCE") or "default"
    rights = list(needed(namespaces=watched, own_namespace=namespace, instance=instance))
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]
    who = {"user": f"system:serviceaccount:{namespace}:{account}", "groups": groups}
    reviews = [
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {**who, "resourceAttributes": right.attributes()},
        }
        for right in rights
    ]
    asked = json.dumps({"apiVersion": "v1", "kind": "List", "items": reviews}).encode()
    try:
        answers = list(_objects(cluster.text("create", "-f", "-", "-o", "json", stdin=asked)))
    except KubectlFailed as error:
        part.missing(f"what {who['user']} may do: {error}")
        return
    missing = [
        right for right, answer in zip(rights, answers, strict=True) if not (answer.get("status") or {}).get("allowed")
    ]
    part.say(f"{who['user']} has {len(rights) - len(missing)} of the {len(rights)} rights that it needs")
    for right in missing:
        part.wrong(f"it may not {right}")


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """What `create` has printed: one object after the other, or a list of them."""
    decoder, place = json.JSONDecoder(), 0
    while place < len(text.rstrip()):
        found, place = decoder.raw_decode(text, place + len(text[place:]) - len(text[place:].lstrip()))
        yield from found["items"] if found.get("kind") == "List" else [found]


def _container(found: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The operator's: hooks and tests have pods of the same label."""
    containers = found["spec"].get("containers") or ()
    return next((each for each in containers if each.get("name") == "operator"), None)


def _why(found: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    waiting = (status.get("state") or {}).get("waiting") or {}
    if waiting:
        return f"{waiting.get('reason')}: {waiting.get('message', '')}"
    conditions = found.get("status", {}).get("conditions") or ()
    told = [f"{each.get('reason')}: {each.get('message', '')}" for each in conditions if each.get("status") == "False"]
    return "; ".join(told) or "no reason is told"
