"""What the chart renders: read from helm's own output, and given to a real API server."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from flowweaver.operator.settings import VARIABLES, Settings
from tests.cluster import assets
from tests.cluster.control_plane import Access, ControlPlane
from tests.cluster.fixtures import fresh_namespace, install_crds
from tests.cluster.operators import CHART, container_environment, render_chart

pytestmark = pytest.mark.control_plane  # helm comes with it

Rendered = list[dict[str, Any]]


def render(
    values: Mapping[str, Any] | None = None, release: str = "flowweaver", namespace: str = "workflows"
) -> Rendered:
    return render_chart(release, namespace, values or {})


def one(rendered: Rendered, kind: str, name: str = "") -> dict[str, Any]:
    (found,) = (item for item in rendered if item["kind"] == kind and name in item["metadata"]["name"])
    return found


def pod_of(rendered: Rendered) -> dict[str, Any]:
    return one(rendered, "StatefulSet")["spec"]["template"]["spec"]


def names(rendered: Rendered) -> set[tuple[str, str, str]]:
    return {(item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]) for item in rendered}


def helm(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([assets.find("helm"), *arguments], capture_output=True, text=True, check=False)


# -------------------------------------------------------------------------------------------------------------- values


def test_lint_finds_nothing_even_where_it_is_strict() -> None:
    linting = helm("lint", "--strict", CHART)
    assert linting.returncode == 0, linting.stdout


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"worker": 4}, "additional properties 'worker' not allowed"),
        ({"workers": 0}, "/workers"),
        ({"workers": "many"}, "/workers"),
        ({"unsafeBodies": ["bash"]}, "/unsafeBodies/0"),
        ({"persistence": {"sise": "1Gi"}}, "additional properties 'sise' not allowed"),
        ({"persistence": {"accessMode": "ReadWriteMany"}}, "/persistence/accessMode"),
        ({"instance": "Team A"}, "/instance"),
        ({"image": {"digest": "latest"}}, "/image/digest"),
        ({"replicas": 2}, "additional properties 'replicas' not allowed"),
        ({"extraEnv": [{"name": "FLOWWEAVER_ADOPT", "value": "true"}]}, "/extraEnv/0/name"),
        ({"http": {"port": 80}}, "/http/port"),
        ({"log": {"levels": {"httpx": "debug"}}}, "/log/levels"),
        ({"log": {"levels": {"flowweaver.stores": "loud"}}}, "/log/levels/flowweaver.stores"),
        ({"tracing": {"endpoint": "collector:4317"}}, "/tracing/endpoint"),
        ({"extraEnv": [{"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://x"}]}, "/extraEnv/0/name"),
        ({"extraVolumes": [{"name": "node", "hostPath": {"path": "/"}}]}, "/extraVolumes/0"),
        ({"extraVolumes": [{"name": "state", "emptyDir": {}}]}, "/extraVolumes/0/name"),
        ({"extraVolumeMounts": [{"name": "x", "mountPath": "/tmp"}]}, "/extraVolumeMounts/0/mountPath"),
        ({"codePolicy": {"enable": True}}, "additional properties 'enable' not allowed"),
        ({"codePolicy": {"bodies": ["python"]}}, "/codePolicy/bodies/0"),
        ({"networkPolicy": {"scrapers": [{"podselector": {}}]}}, "additional properties 'podselector' not allowed"),
        ({"affinity": {"nodeAfinity": {}}}, "additional properties 'nodeAfinity' not allowed"),
        ({"tolerations": [{"effect": "NoRun"}]}, "/tolerations/0/effect"),
        ({"podDisruptionBudget": {"maxUnavailable": 2}}, "/podDisruptionBudget/maxUnavailable"),
        ({"extraVolumes": [{"name": "x", "hostPath": {"path": "/"}}]}, "additional properties 'hostPath' not allowed"),
        ({"uninstall": {"waitSeconds": -1}}, "/uninstall/waitSeconds"),
        ({"persistence": {"dataSource": {"name": "x"}}}, "/persistence/dataSource"),
        ({"persistence": {"existingClaim": "x", "dataSource": {"kind": "A", "name": "b"}}}, "leave one of them out"),
    ],
)
def test_a_value_that_can_not_be_meant_is_refused_by_its_name(values: dict[str, Any], told: str) -> None:
    refused = subprocess.run(
        [assets.find("helm"), "template", "x", CHART, "--values", "-"],
        input=json.dumps(values),
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode != 0
    assert told in refused.stderr


def test_every_value_is_in_the_schema_and_every_property_of_the_schema_has_a_value() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert set(values) == set(schema["properties"]) - {"global"}
    for name, described in schema["properties"].items():
        if name not in {"resources", "affinity"} and described.get("properties"):  # those are Kubernetes' own
            assert set(values[name]) == set(described["properties"]), name


def test_no_object_of_the_schema_takes_a_name_that_it_does_not_know() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())

    def loose(at: Any, path: str) -> Iterator[str]:
        if isinstance(at, dict):
            if "object" in (at.get("type") or ()) and at.get("additionalProperties", True) is True:
                yield path
            for name, below in at.items():
                yield from loose(below, f"{path}/{name}")
        elif isinstance(at, list):
            for below in at:
                yield from loose(below, path)

    # What a parent chart sets for all of its charts is not ours to know.
    assert list(loose(schema, "")) == ["/properties/global"]


def test_every_setting_of_the_operator_is_set_by_the_chart() -> None:
    container = pod_of(render())["containers"][0]
    assert {entry["name"] for entry in container["env"]} == set(VARIABLES)


def test_the_operator_reads_the_values_as_they_were_meant() -> None:
    values = {
        "namespaces": ["one", "two"],
        "instance": "blue",
        "workers": 3,
        "functions": ["etl.*", "reports"],
        "unsafeBodies": ["shell", "thread"],
        "httpAllow": ["192.0.2.0/24", "{namespace}.example"],
        "adopt": True,
        "graceSeconds": 7,
        "log": {"level": "debug", "format": "text", "levels": {"flowweaver.stores": "info", "flowweaver": "error"}},
        "tracing": {"endpoint": "http://collector:4318"},
        "http": {"port": 9000},
    }
    settings = Settings.from_environment(container_environment(render(values)))
    assert (settings.namespaces, settings.instance, settings.workers) == (("one", "two"), "blue", 3)
    assert settings.functions == ("etl.*", "reports")
    assert settings.unsafe_bodies == {"shell", "thread"}
    assert settings.http_allow == ("192.0.2.0/24", "{namespace}.example")
    assert (settings.adopt, settings.grace_seconds) == (True, 7)
    assert (settings.log_level, settings.log_format) == ("debug", "text")
    assert set(settings.log_levels) == {("flowweaver.stores", "info"), ("flowweaver", "error")}
    assert settings.tracing_endpoint == "http://collector:4318"
    assert settings.http_address() == ("", 9000)


def test_further_volumes_are_in_the_pod_and_its_container_sees_them() -> None:
    volume = {"name": "functions", "configMap": {"name": "shop"}}
    mount = {"name": "functions", "mountPath": "/functions", "readOnly": True}
    pod = pod_of(render({"extraVolumes": [volume], "extraVolumeMounts": [mount]}))
    assert volume in pod["volumes"]
    assert mount in pod["containers"][0]["volumeMounts"]


def test_the_default_install_runs_no_code_and_reaches_no_private_address() -> None:
    settings = Settings.from_environment(container_environment(render()))
    assert settings.policy() == Settings().policy()
    assert (settings.adopt, settings.instance, settings.namespaces) == (False, "default", ())


# -------------------------------------------------------------------------------------------------------------- rights

WORKFLOW_RULES = [
    {"apiGroups": ["flowweaver.io"], "resources": ["workflows"], "verbs": ["get", "list", "watch", "patch", "delete"]},
    {"apiGroups": ["flowweaver.io"], "resources": ["workflows/status"], "verbs": ["patch"]},
    {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]},
]
LEASES = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"]}
LEASE_RULES = [
    {**LEASES, "verbs": ["create"]},
    {**LEASES, "resourceNames": ["flowweaver-blue"], "verbs": ["get", "patch"]},
]


def bound_rules(rendered: Rendered) -> dict[tuple[str, str], Any]:
    """What the ServiceAccount may do: by the binding's namespace and the role's name."""
    roles = {
        (item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]): item["rules"]
        for item in rendered
        if item["kind"] in {"Role", "ClusterRole"}
    }
    bound = {}
    for binding in rendered:
        if binding["kind"] in {"RoleBinding", "ClusterRoleBinding"}:
            namespace, role = binding["metadata"].get("namespace", ""), binding["roleRef"]
            bound[namespace, role["name"]] = roles[role["kind"], namespace, role["name"]]
    return bound


def test_it_may_do_this_in_every_namespace_and_nothing_else() -> None:
    assert bound_rules(render({"instance": "blue"})) == {
        ("", "workflows:flowweaver"): WORKFLOW_RULES,
        ("workflows", "flowweaver-lease"): LEASE_RULES,
    }


def test_for_named_namespaces_it_has_no_right_elsewhere() -> None:
    assert bound_rules(render({"instance": "blue", "namespaces": ["one", "two"]})) == {
        ("one", "workflows:flowweaver"): WORKFLOW_RULES,
        ("two", "workflows:flowweaver"): WORKFLOW_RULES,
        ("workflows", "flowweaver-lease"): LEASE_RULES,
    }


def test_who_may_view_may_look_at_workflows_and_who_may_edit_may_not_create_them_unless_it_is_said() -> None:
    label = "rbac.authorization.k8s.io/aggregate-to-"

    def aggregated(values: dict[str, Any]) -> set[str]:
        return {key for item in render(values) for key in item["metadata"].get("labels", {}) if key.startswith(label)}

    assert aggregated({}) == {f"{label}view"}
    assert aggregated({"rbac": {"aggregateToView": False}}) == set()
    assert aggregated({"rbac": {"aggregateToEdit": True}}) == {f"{label}view", f"{label}edit", f"{label}admin"}


def test_two_releases_share_no_object_wherever_they_are() -> None:
    without = {"crds": {"install": False}}
    first = names(render(without, "flowweaver", "one"))
    assert first.isdisjoint(names(render(without, "flowweaver", "two")))
    assert first.isdisjoint(names(render(without, "another", "one")))


# ----------------------------------------------------------------------------------------------------------------- pod


def test_a_namespace_that_enforces_the_restricted_profile_takes_the_pod(control_plane: Access) -> None:
    kubectl = control_plane.kubectl
    namespace = fresh_namespace(kubectl)
    kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    spec = {**pod_of(render()), "serviceAccountName": "default"}
    # The claim of a StatefulSet becomes a volume of its pods.
    spec["volumes"] = [*spec["volumes"], {"name": "state", "persistentVolumeClaim": {"claimName": "state-0"}}]
    kubectl("create", "serviceaccount", "pods", "--namespace", namespace)
    spec["serviceAccountName"] = "pods"
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "operator", "namespace": namespace}, "spec": spec}
    assert "created" in kubectl("create", "--dry-run=server", "-f", "-", stdin=pod)

    spec["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    refused = kubectl.run("create", "--dry-run=server", "-f", "-", stdin=pod)
    assert 'violates PodSecurity "restricted' in refused.stderr


def test_the_api_server_accepts_every_object_strictly(control_plane: Access) -> None:
    kubectl = control_plane.kubectl
    namespace = fresh_namespace(kubectl)
    everything = {
        "namespaces": [namespace],
        "imagePullSecrets": [{"name": "pull"}],
        "podAnnotations": {"a": "b"},
        "podLabels": {"c": "d"},
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "system-cluster-critical",
        "persistence": {"storageClass": "fast"},
        "extraEnv": [{"name": "SSL_CERT_FILE", "value": "/certificates/ca.crt"}],
        "serviceAccount": {"annotations": {"e": "f"}},
        "service": {"annotations": {"g": "h"}},
        "rbac": {"aggregateToEdit": True},
    }
    for values in ({}, everything):
        objects = {"apiVersion": "v1", "kind": "List", "items": render(values, namespace=namespace)}
        kubectl("apply", "--server-side", "--validate=strict", "--dry-run=server", "-f", "-", stdin=objects)


def test_the_root_file_system_is_read_only_and_nothing_can_be_gained() -> None:
    pod = pod_of(render())
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": True,
    }
    assert (pod["securityContext"]["runAsUser"], pod["securityContext"]["runAsNonRoot"]) == (65532, True)
    assert pod["automountServiceAccountToken"] is False
    writable = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    assert writable == {"/var/lib/flowweaver", "/tmp"}


def test_the_pod_outlives_the_grace_period_of_its_attempts() -> None:
    assert pod_of(render({"graceSeconds": 100}))["terminationGracePeriodSeconds"] == 115


def test_there_is_one_pod_and_its_claim_survives() -> None:
    spec = one(render(), "StatefulSet")["spec"]
    assert (spec["replicas"], spec["podManagementPolicy"]) == (1, "Parallel")
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    assert spec["volumeClaimTemplates"][0]["spec"]["accessModes"] == ["ReadWriteOncePod"]


def test_a_claim_that_is_there_takes_the_place_of_one_that_is_made() -> None:
    statefulset = one(render({"persistence": {"existingClaim": "mine"}}), "StatefulSet")["spec"]
    assert "volumeClaimTemplates" not in statefulset
    state = [volume for volume in statefulset["template"]["spec"]["volumes"] if volume["name"] == "state"]
    assert state == [{"name": "state", "persistentVolumeClaim": {"claimName": "mine"}}]


def test_a_claim_that_is_made_begins_with_what_is_said() -> None:
    source = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "yesterday"}
    (claim,) = one(render({"persistence": {"dataSource": source}}), "StatefulSet")["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["dataSource"] == source


def test_a_digest_wins_over_a_tag() -> None:
    digest = "sha256:" + "0" * 64
    image = {"repository": "registry.example/flowweaver", "tag": "1"}
    assert pod_of(render({"image": image}))["containers"][0]["image"] == "registry.example/flowweaver:1"
    with_digest = pod_of(render({"image": {**image, "digest": digest}}))["containers"][0]["image"]
    assert with_digest == f"registry.example/flowweaver@{digest}"


def test_the_notes_warn_of_what_is_dangerous_and_of_nothing_else() -> None:
    def warnings(values: dict[str, Any]) -> int:
        shown = subprocess.run(
            [assets.find("helm"), "install", "x", CHART, "--dry-run=client", "--values", "-"],
            input=json.dumps({"crds": {"install": False}, **values}),
            env={"KUBECONFIG": "/nonexistent", "PATH": "", "HOME": "/nonexistent"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert shown.returncode == 0, shown.stderr
        return shown.stdout.partition("NOTES:")[2].count("WARNING: ")

    dangerous = {
        "unsafeBodies": ["shell"],
        "adopt": True,
        "rbac": {"aggregateToEdit": True},
        "networkPolicy": {"enabled": True},
        "monitoring": {"serviceMonitor": {"enabled": True}},
        "uninstall": {"releaseFinalizers": False},
        "crds": {"install": False, "keep": False},
    }
    assert (warnings({}), warnings(dangerous)) == (0, 6)


# ---------------------------------------------------------------------------------------------------------------- CRDs


def test_the_chart_carries_the_crds_of_the_repository() -> None:
    mine = {path.name: path.read_text() for path in (assets.ROOT / "crds").glob("*.yaml")}
    carried = {path.name: path.read_text() for path in (CHART / "files/crds").glob("*.yaml")}
    assert mine, "there are CRDs"
    assert carried == mine, "run `make crds`"


def test_the_crds_are_rendered_as_they_are_and_kept_when_the_release_goes() -> None:
    mine = [yaml.safe_load(path.read_text()) for path in sorted((assets.ROOT / "crds").glob("*.yaml"))]
    rendered = [item for item in render() if item["kind"] == "CustomResourceDefinition"]
    assert [item["spec"] for item in rendered] == [item["spec"] for item in mine]
    assert all(item["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep" for item in rendered)


def test_the_crds_go_with_the_release_or_are_left_out_where_that_is_said() -> None:
    loose = [item for item in render({"crds": {"keep": False}}) if item["kind"] == "CustomResourceDefinition"]
    assert all("helm.sh/resource-policy" not in item["metadata"].get("annotations", {}) for item in loose)
    assert loose
    assert "CustomResourceDefinition" not in {item["kind"] for item in render({"crds": {"install": False}})}


@pytest.mark.slow
def test_crds_of_another_release_are_left_alone_and_the_notes_say_whose_they_are(
    own_control_plane: ControlPlane,
) -> None:
    access = own_control_plane.access
    install_crds(access.kubectl)

    def installing() -> tuple[str, bool]:
        """What is said of the CRDs, and whether they would be part of the release."""
        where = ["--kubeconfig", access.kubeconfig, "--namespace", "default"]
        shown = helm("install", "flowweaver", CHART, "--dry-run=server", *where)
        assert shown.returncode == 0, shown.stderr
        said = [line for line in shown.stdout.splitlines() if line.startswith("The CRDs were there before")]
        return "".join(said).partition(":")[0], "kind: CustomResourceDefinition" in shown.stdout

    def give_to(namespace: str, name: str) -> None:
        marks = [f"meta.helm.sh/release-namespace={namespace}", f"meta.helm.sh/release-name={name}"]
        access.kubectl("annotate", "--overwrite", "crd", "workflows.flowweaver.io", *marks)
        access.kubectl("label", "--overwrite", "crd", "workflows.flowweaver.io", "app.kubernetes.io/managed-by=Helm")

    before = "The CRDs were there before and belong to"
    assert installing() == (f"{before} no release", False)
    give_to("elsewhere", "flowweaver")
    assert installing() == (f"{before} the release elsewhere/flowweaver", False)
    give_to("default", "another")
    assert installing() == (f"{before} the release default/another", False)
    give_to("default", "flowweaver")
    assert installing() == ("", True)
