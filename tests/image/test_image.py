"""The image: what is in it and what is not, how it runs, and that two builds of it are the same.

It needs the Docker engine that `hack/e2e` builds with, and the image of IMAGE. BASE_IMAGE and BUILD_HOST are as there.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flowweaver.stores.connections import OLDEST_SQLITE
from tests.cluster.assets import ROOT
from tests.docs.blocks import of, run_commands, write_files
from tests.image.engine import ENGINE, docker

pytestmark = pytest.mark.node  # where pods can run there is an engine that has built what they run

IMAGE = os.environ.get("IMAGE", "flowweaver-operator:e2e")
BUILT_ON = ["--build-arg", f"BASE_IMAGE={base}"] if (base := os.environ.get("BASE_IMAGE")) else []
SHIPPED = "flowweaver/flowweaver-operator:0.3.2"


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the image is made of, as it is now."""
    folder = tmp_path_factory.mktemp("sources")
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for name in ("Dockerfile", ".dockerignore", *kept):
        (folder / name).parent.mkdir(exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def build(tag: str, sources: Path, *arguments: str) -> list[str]:
    """Build the image; gives the numbers of what the build leaves behind."""
    said = docker("build", "--network=host", *BUILT_ON, *arguments, "--tag", tag, str(sources))
    return re.findall(r"^ ---> ([0-9a-f]{12})$", said.stdout, re.MULTILINE)


def run(*arguments: str, image: str = IMAGE, options: tuple[str, ...] = ()) -> str:
    """What a program of the image prints, started as the chart starts it: nothing can be written but /tmp."""
    hardened = ("--read-only", "--tmpfs", "/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges")
    program, *rest = arguments
    return docker("run", "--rm", "--network=none", *hardened, *options, "--entrypoint", program, image, *rest).stdout


@pytest.fixture(scope="module")
def files() -> Iterator[Callable[[str], dict[str, tuple[Any, ...]]]]:
    """What each file of an image is: mode, owner, link and content by its digest; and the second that it is from."""
    containers = []

    def read(image: str) -> dict[str, tuple[Any, ...]]:
        containers.append(docker("create", image).stdout.strip())
        exported = subprocess.run([*ENGINE, "export", containers[-1]], capture_output=True, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(exported)) as archive:
            return {member.name: described(archive, member) for member in archive if not of_the_engine(member.name)}

    yield read
    for container in containers:
        docker("rm", container)


def described(archive: tarfile.TarFile, member: tarfile.TarInfo) -> tuple[Any, ...]:
    content = archive.extractfile(member) if member.isfile() else None
    digest = "" if content is None else hashlib.file_digest(content, "sha256").hexdigest()
    time = member.mtime if member.isfile() else None  # a folder's is new where the engine has put something into it
    return oct(member.mode), member.uid, member.gid, member.type, member.linkname, digest, time


def of_the_engine(name: str) -> bool:
    """Whether the engine puts it into each container."""
    return name in {".dockerenv", "etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab"} or bool(
        re.match(r"(dev|proc|sys)(/|$)", name)
    )


@pytest.fixture(scope="module")
def labelled(sources) -> Iterator[str]:
    """An image that only differs by its labels from what the engine has kept of the one under test."""
    tag = f"flowweaver-operator:labelled-{os.getpid()}"
    build(tag, sources, "--build-arg", "VERSION=1.2.3", "--build-arg", "REVISION=0123abc")
    yield tag
    docker("rmi", "--force", tag, check=False)


def test_two_builds_give_the_same_files(files, sources, labelled, request):
    """The other one begins with nothing."""
    afresh = f"flowweaver-operator:afresh-{os.getpid()}"
    left: list[str] = []
    request.addfinalizer(lambda: docker("rmi", "--force", afresh, *reversed(left), check=False))
    left += build(afresh, sources, "--no-cache")
    first, second = files(labelled), files(afresh)

    assert len(first) > 3000
    assert {name for name in first.keys() | second.keys() if first.get(name) != second.get(name)} == set()
    ours = [name for name in first if name.startswith("opt/flowweaver/") and first[name][-1] is not None]
    assert len({first[name][-1] for name in ours}) == 1  # all from one second
    assert any(name.endswith(".pyc") for name in ours)


def test_its_labels_say_which_one_it_is(labelled):
    found = json.loads(docker("image", "inspect", labelled, "--format", "{{json .Config.Labels}}").stdout)

    prefix = "org.opencontainers.image."
    assert found[f"{prefix}version"] == "1.2.3"
    assert found[f"{prefix}revision"] == "0123abc"
    assert found[f"{prefix}licenses"] == "Apache-2.0"
    assert {f"{prefix}title", f"{prefix}description"} <= set(found)


def test_nothing_in_it_can_install_or_build_or_become_somebody_else(files):
    found = files(IMAGE)
    modules = {Path(name).name for name in found}
    programs = {Path(name).name for name in found if Path(name).parent.name in {"bin", "sbin"}}

    assert modules.isdisjoint(
        {"pip", "ensurepip", "setuptools", "pkg_resources", "wheel", "hatchling", "editables", "uv"}
    )
    assert programs.isdisjoint({"pip", "pip3", "gcc", "cc", "make", "cargo", "git", "curl", "wget"})
    special = [
        name for name, (mode, *_, kind, _, _, _) in found.items() if int(mode, 8) & 0o6000 and kind == tarfile.REGTYPE
    ]
    assert special == []
    assert "opt/flowweaver/lib/python3.11/site-packages/kubernetes/aio" not in found


def test_the_image_is_small(measured):
    """What comes beside the base, whichever that is."""
    layout = "{{.Size}} {{.CreatedBy}}"
    layers = docker("history", "--human=false", "--no-trunc", "--format", layout, IMAGE).stdout.splitlines()
    ours = sum(int(layer.split()[0]) for layer in layers if "COPY" in layer and "/opt/flowweaver" in layer)
    whole = int(docker("image", "inspect", IMAGE, "--format", "{{.Size}}").stdout)
    measured(f"image: {whole / 1e6:.0f} MB, of which {ours / 1e6:.0f} MB are the operator with its libraries")

    assert 50e6 < ours < 180e6


@pytest.mark.parametrize("user", ["", "12345:0"])
def test_it_runs_a_workflow_as_nobody_in_particular_with_a_root_that_can_not_be_written(user):
    options = ("--volume", f"{ROOT / 'examples'}:/work:ro", *(("--user", user) if user else ()))
    said = run("flowweaver", "run", "/work/hello.yaml", "--state", "/tmp/state.db", options=options)

    assert "Completed in" in said
    if not user:
        assert run("id", "-u").strip() == "65532"


def test_nothing_is_compiled_again_when_it_starts():
    program = "import flowweaver.operator.service as s; print(s.__cached__)"
    cached = run("/opt/flowweaver/bin/python", "-c", program).strip()
    flags = run("/opt/flowweaver/bin/python", "-c", f"print(open({cached!r}, 'rb').read()[4])").strip()

    assert flags == "1"  # by its content, and never looked at again


def test_its_sqlite_has_no_race_at_the_reset_of_the_log():
    program = "import apsw; print(apsw.sqlite_lib_version())"
    version = run("/opt/flowweaver/bin/python", "-c", program)

    assert tuple(map(int, version.split("."))) >= tuple(map(int, OLDEST_SQLITE.split(".")))


def test_everything_in_it_is_listed(tmp_path):
    bill = json.loads(run("cat", "/opt/flowweaver/sbom.cdx.json"))
    listed = {part["purl"] for part in bill["components"]} | {bill["metadata"]["component"]["purl"]}
    program = """
import importlib.metadata as m, re
for found in m.distributions():
    print(f"pkg:pypi/{re.sub(r'[-_.]+', '-', found.metadata['Name']).lower()}@{found.version}")
"""
    installed = set(run("/opt/flowweaver/bin/python", "-c", program).split())
    (apsw,) = (part for part in bill["components"] if part["name"] == "apsw")
    packages = run("dpkg-query", "--show", "--showformat", "${Package}@${Version}\\n").split()
    subprocess.run(["make", "sbom", f"SBOM={tmp_path / 'sbom.json'}"], cwd=ROOT, check=True)
    of_the_lock = json.loads((tmp_path / "sbom.json").read_text())

    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    assert installed <= listed
    assert {purl for purl in listed if purl.startswith("pkg:pypi/")} == installed
    assert {re.sub(r"pkg:deb/debian/(.*)\?arch=.*", r"\1", purl) for purl in listed if ":deb/" in purl} == set(packages)
    assert [part["name"] for part in apsw["components"]] == ["sqlite"]
    assert any(part["name"] == "python" and part["type"] == "platform" for part in bill["components"])
    theirs = {part["purl"] for part in of_the_lock["components"]} | {of_the_lock["metadata"]["component"]["purl"]}
    assert theirs == installed
    assert len({part["bom-ref"] for part in bill["components"]}) == len(bill["components"])


# ---------------------------------------------------------------------------------------------------- docs/functions.md


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """With the files of the page; in a place that also a user without a name can read."""
    found = Path(tempfile.mkdtemp(prefix="functions-"))
    write_files("docs/functions.md", found)
    for path in (found, *found.rglob("*")):
        path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
    yield found
    shutil.rmtree(found)
    docker("rmi", "--force", "shop/operator:1", "shop/operator:2", check=False)


@pytest.mark.parametrize("block", of("console image"), ids=str)
def test_a_command_of_the_docs_works_with_the_image(block, folder):
    """With the image under test in place of the published one, without a network; all else is what a reader types."""
    engine = " ".join(ENGINE)
    ours = block.text.replace(SHIPPED, IMAGE)
    ours = ours.replace("$ docker run", f"$ {engine} run --network=none")
    stages = BUILT_ON if "Dockerfile.wheel" in block.text else []  # an argument that a Dockerfile has not is told of
    arguments = " ".join(["--network=host", *stages, "--build-arg", f"FLOWWEAVER={IMAGE}"])
    run_commands(ours.replace("$ docker build", f"$ {engine} build {arguments}"), folder)


def test_a_module_can_not_take_the_place_of_one_of_ours(folder):
    (folder / "httpx.py").write_text("raise SystemExit('not ours')\n")
    program = "import sys, httpx; print(httpx.__file__, sys.path[-1])"
    found = run("/opt/flowweaver/bin/python", "-c", program, options=("--volume", f"{folder}:/functions:ro"))

    assert found.startswith("/opt/flowweaver/")
    assert found.split()[-1] == "/functions"
