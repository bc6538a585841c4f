"""The commands of the docs that need a cluster do what the docs say, in a cluster."""

from __future__ import annotations

import functools
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.cluster import assets
from tests.cluster.operators import render_chart
from tests.docs.blocks import ROOT, of, run_commands, write_files

INSTALL = "helm install flowweaver charts/flowweaver --namespace flowweaver --create-namespace --wait"
STORIES = sorted({block.page for block in of("console node")})


@pytest.mark.control_plane
@pytest.mark.parametrize("block", of("console cluster"), ids=str)
def test_a_command_of_the_docs_works_against_an_api_server_and_an_operator(block, kubectl, operator, tmp_path):
    operator()
    kubectl("apply", "-f", ROOT / "examples" / "hello.yaml")
    write_files(block.page, tmp_path)
    kubeconfig = tmp_path / "kubeconfig"
    shutil.copy(kubectl.kubeconfig, kubeconfig)
    path = f"{Path(sys.executable).parent}:{assets.find('kubectl').parent}:{os.environ['PATH']}"
    environment = {"KUBECONFIG": str(kubeconfig), "PATH": path}
    run_commands(f"$ kubectl config set-context --current --namespace={kubectl.namespace}", tmp_path, environment)

    run_commands(block.text, tmp_path, environment)


@pytest.mark.control_plane  # helm comes with it
@pytest.mark.parametrize("block", [block for block in of("yaml file") if block.file.startswith("values")], ids=str)
def test_the_chart_takes_the_values_of_the_docs(block):
    render_chart("flowweaver", "flowweaver", yaml.safe_load(block.text))


@pytest.mark.node
@pytest.mark.parametrize("page", STORIES)
def test_a_page_tells_what_happens_in_a_cluster(page, tmp_path):
    """Its blocks in order, as a reader types them, on the chart whose image is the one under test."""
    with playground(page, tmp_path) as run:
        for block in of("console node"):
            if block.page == page:
                run(block.text)


def test_the_readme_begins_with_an_installation():
    (block,) = (block for block in of("console node") if block.page == "README.md")

    assert block.text.startswith(f"$ {INSTALL}")


@contextmanager
def playground(page: str, folder: Path) -> Iterator[Callable[[str], None]]:
    """Gives what runs a page's commands in a folder that is like a checkout; nothing is left in the cluster.

    A page that does not install the chart itself finds it installed.
    """
    write_files(page, folder)
    shutil.copytree(ROOT / "charts", folder / "charts")
    repository, _, tag = os.environ.get("IMAGE", "flowweaver-operator:e2e").rpartition(":")
    values = folder / "charts" / "flowweaver" / "values.yaml"
    text = values.read_text(encoding="utf-8")
    text = re.sub(r"(?m)^  repository: .*$", f"  repository: {repository}", text, count=1)
    values.write_text(re.sub(r'(?m)^  tag: ""$', f'  tag: "{tag}"', text, count=1), encoding="utf-8")
    try:
        if not any(block.page == page and "helm install" in block.text for block in of("console node")):
            run_commands(f"$ {INSTALL}", folder)
        yield functools.partial(run_commands, folder=folder)
    finally:
        run_commands(
            "$ kubectl delete workflows.flowweaver.io --all --ignore-not-found --timeout=60s\n"
            "$ helm list --all-namespaces --all --short --filter flowweaver\n"
            "$ helm uninstall flowweaver --namespace flowweaver --ignore-not-found --wait\n"
            "$ kubectl delete namespace flowweaver --ignore-not-found\n",
            folder,
        )
