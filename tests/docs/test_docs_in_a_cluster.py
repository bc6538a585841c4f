"""The commands of the docs that need a cluster do what the docs say, in a cluster."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.cluster import assets
from tests.cluster.operators import render_chart
from tests.docs.blocks import ROOT, SHELL, commands, of, run_commands, write_files
from tests.image.engine import ENGINE, base_image, docker

INSTALL = "helm install flowweaver charts/flowweaver --namespace flowweaver --create-namespace --wait"
AS_IT_IS = INSTALL.replace("install", "upgrade --install --reset-values")
UNINSTALL = "helm uninstall flowweaver --namespace flowweaver --ignore-not-found --wait"
LAST = "docs/DEPLOYMENT_GUIDE.md"
"""It takes everything away at its end."""
FIRST_SECONDS = 180
"""How long a reader of the README may take to the first workflow that has completed."""
STORIES = sorted(
    {block.page for block in of("console node")}, key=lambda page: (page == LAST, page != "README.md", page)
)


@pytest.mark.control_plane
@pytest.mark.parametrize("page", sorted({block.page for block in of("console cluster")}))
def test_the_commands_of_a_page_work_against_an_api_server_and_an_operator(page, kubectl, operator, tmp_path):
    operator()
    kubectl("apply", "-f", ROOT / "examples" / "hello.yaml")
    write_files(page, tmp_path)
    kubeconfig = tmp_path / "kubeconfig"
    shutil.copy(kubectl.kubeconfig, kubeconfig)
    programs = (Path(sys.executable), assets.find("kubectl"), assets.find("helm"))
    path = ":".join([*(str(program.parent) for program in programs), os.environ["PATH"]])
    environment = {"KUBECONFIG": str(kubeconfig), "PATH": path}
    run_commands(f"$ kubectl config set-context --current --namespace={kubectl.namespace}", tmp_path, environment)
    for block in of("console cluster"):
        if block.page == page:
            run_commands(block.text, tmp_path, environment)


@pytest.mark.control_plane  # helm comes with it
@pytest.mark.parametrize("block", [block for block in of("yaml file") if block.file.startswith("values")], ids=str)
def test_the_chart_takes_the_values_of_the_docs(block):
    render_chart("flowweaver", "flowweaver", yaml.safe_load(block.text))


@pytest.fixture(scope="module")
def release() -> Iterator[str]:
    """The name of the release that the pages share, and its claim: small clusters have few volumes."""
    yield "flowweaver"
    run_commands(f"$ {UNINSTALL}\n$ kubectl delete namespace flowweaver --ignore-not-found", ROOT)


@pytest.mark.node
@pytest.mark.parametrize("page", STORIES)
def test_a_page_tells_what_happens_in_a_cluster(page, release, tmp_path, measured):
    """Its blocks in order, as a reader types them. A page that installs nothing finds the chart installed as it is.

    The README's are typed in a fresh container that has helm, kubectl and the checkout, and nothing else from here.
    """
    story = [block.text for block in of("console node") if block.page == page]
    write_files(page, tmp_path)
    fit_to_this_cluster(tmp_path)
    installs = any("helm install" in text for text in story)
    run_commands(f"$ {UNINSTALL if installs else AS_IT_IS}", tmp_path)
    try:
        if page != "README.md":
            for text in story:
                run_commands(text, tmp_path)
            return
        with fresh_container(tmp_path) as shell:
            began = time.monotonic()
            for text in story:
                run_commands(text, tmp_path, shell=shell)
            seconds = time.monotonic() - began
        run_commands("$ kubectl get fw hello -o jsonpath='{.status.phase}'\nCompleted", tmp_path)
        assert seconds <= FIRST_SECONDS
        number = sum(len(commands(text)) for text in story)
        measured(
            f"README, in a fresh container: {number} commands, {seconds:.1f} s from helm install to the first "
            "Completed workflow"
        )
    finally:
        run_commands("$ ! kubectl get crd workflows.flowweaver.io || kubectl delete fw --all --timeout=60s", tmp_path)


@contextmanager
def fresh_container(folder: Path) -> Iterator[list[str]]:
    """The shell of a container of the image that ours is built on, in a copy of the folder."""
    access = subprocess.run(["kubectl", "config", "view", "--raw", "--flatten"], stdout=subprocess.PIPE, check=True)
    (folder / "kubeconfig").write_bytes(access.stdout)
    options = ("--rm", "--detach", "--network=host", "--workdir=/checkout")
    name = docker("run", *options, base_image(), "sleep", "1000").stdout.strip()
    try:
        for program in ("helm", "kubectl"):
            there = Path(shutil.which(program) or "").resolve()
            docker("cp", str(there), f"{name}:/usr/local/bin/{program}")
        docker("cp", f"{folder}/.", f"{name}:/checkout")
        yield [*ENGINE, "exec", "--env=KUBECONFIG=/checkout/kubeconfig", name, *SHELL]
    finally:
        docker("rm", "--force", name)


def fit_to_this_cluster(folder: Path) -> None:
    """The image is the one under test, and claims are small."""
    repository, _, tag = os.environ.get("IMAGE", "flowweaver-operator:e2e").rpartition(":")
    changes = {r"  repository: .*": f"  repository: {repository}", r'  tag: ""': f'  tag: "{tag}"'}
    for values in (folder / "charts" / "flowweaver" / "values.yaml", *folder.glob("values*.yaml")):
        text = re.sub(r"(?m)^  size: [0-9]+Gi", "  size: 1Gi", values.read_text(encoding="utf-8"))
        for line, ours in changes.items():
            text = re.sub(f"(?m)^{line}$", ours, text)
        values.write_text(text, encoding="utf-8")


def test_the_readme_begins_with_an_installation():
    (block,) = (block for block in of("console node") if block.page == "README.md")

    assert block.text.startswith(f"$ {INSTALL}")
