"""What checkov, a scanner of others' making, says of the rendered chart: nothing that is not waived with its reason."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.test_switches import everything, render
from tests.cluster import assets

pytestmark = [pytest.mark.control_plane, pytest.mark.slow]

WAIVERS = Path(__file__).with_name("checkov.yaml")
NOWHERE = "http://127.0.0.1:9"  # what would ask somebody outside gets no answer here
RENDERED: dict[str, dict[str, Any]] = {
    "defaults": {},
    "everything": everything("workflows", on=True),
    "restoring": {"backup": {"enabled": True, "size": "2Gi", "restore": "newest"}},
}


@pytest.fixture(scope="module")
def checkov() -> Path:
    found = subprocess.run([assets.ROOT / "hack/checkov", "--find"], capture_output=True, text=True, check=False)
    if found.returncode:
        message = "needs checkov, which is not there: run hack/checkov once"
        if os.environ.get("CI", "").lower() in {"1", "true"}:
            pytest.fail(message, pytrace=False)
        pytest.skip(message)
    return Path(found.stdout.strip())


def scan(checkov: Path, folder: Path, objects: dict[str, list[dict[str, Any]]]) -> set[tuple[str, str, str]]:
    """What fails: the check, the kind of the object, and which of these lists it was in. Nothing is sent anywhere."""
    files = []
    for name, items in objects.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump_all(items))
        files += ["--file", f"{name}.yaml"]
    environment = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    environment |= {"HOME": str(folder), "HTTP_PROXY": NOWHERE, "HTTPS_PROXY": NOWHERE}
    options = ["--framework", "kubernetes", "--skip-download", "--skip-results-upload", "--compact", "--output", "json"]
    ended = subprocess.run(
        [checkov, *files, *options], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode in {0, 1}, ended.stderr
    found = json.loads(ended.stdout)
    assert found["summary"]["parsing_errors"] == 0
    assert found["summary"]["passed"] > 100
    failed = found["results"]["failed_checks"]
    return {(each["check_id"], each["resource"].partition(".")[0], Path(each["file_path"]).stem) for each in failed}


def waived() -> set[tuple[str, str, str]]:
    waivers = yaml.safe_load(WAIVERS.read_text())
    assert all(len(waiver["reason"].split()) > 5 for waiver in waivers), "each has a reason in words"
    return {(each["check"], kind, values) for each in waivers for kind in each["kinds"] for values in each["with"]}


def test_what_checkov_finds_is_waived_with_its_reason_and_nothing_else_is(checkov: Path, tmp_path: Path) -> None:
    found = scan(checkov, tmp_path, {name: render(values) for name, values in RENDERED.items()})
    assert found - waived() == set()
    assert waived() - found == set(), "no longer needed"


def test_checkov_would_find_a_pod_that_may_do_too_much(checkov: Path, tmp_path: Path) -> None:
    objects = render({})
    (statefulset,) = (item for item in objects if item["kind"] == "StatefulSet")
    statefulset["spec"]["template"]["spec"]["containers"][0]["securityContext"]["privileged"] = True
    found = scan(checkov, tmp_path, {"defaults": objects})
    assert ("CKV_K8S_16", "StatefulSet", "defaults") in found - waived()
