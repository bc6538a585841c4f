"""The commands of the docs that need a cluster do what the docs say, in a cluster."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.cluster import assets
from tests.docs.blocks import ROOT, of, run_commands

HELM = "helm install flowweaver charts/flowweaver"


@pytest.mark.control_plane
@pytest.mark.parametrize("block", of("console cluster"), ids=str)
def test_a_command_of_the_docs_works_against_an_api_server_and_an_operator(block, kubectl, operator, tmp_path):
    operator()
    kubectl("apply", "-f", ROOT / "examples" / "hello.yaml")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    kubeconfig = tmp_path / "kubeconfig"
    shutil.copy(kubectl.kubeconfig, kubeconfig)
    path = f"{Path(sys.executable).parent}:{assets.find('kubectl').parent}:{os.environ['PATH']}"
    environment = {"KUBECONFIG": str(kubeconfig), "PATH": path}
    run_commands(f"$ kubectl config set-context --current --namespace={kubectl.namespace}", tmp_path, environment)

    run_commands(block.text, tmp_path, environment)


@pytest.mark.node
def test_the_readme_installs_the_chart_and_runs_its_first_manifest(tmp_path):
    """With the image under test in place of the published one; all else is what a reader types."""
    (block,) = of("console node")
    assert HELM in block.text
    image, _, tag = os.environ.get("IMAGE", "flowweaver-operator:e2e").rpartition(":")
    ours = f"{HELM} --set image.repository={image},image.tag={tag}"
    for name in ("charts", "examples"):
        shutil.copytree(ROOT / name, tmp_path / name)
    try:
        run_commands(block.text.replace(HELM, ours), tmp_path)
    finally:
        run_commands(
            "$ kubectl delete fw hello --ignore-not-found\n"
            "$ helm uninstall flowweaver --namespace flowweaver --ignore-not-found --wait\n"
            "$ kubectl delete namespace flowweaver --ignore-not-found\n",
            tmp_path,
        )
