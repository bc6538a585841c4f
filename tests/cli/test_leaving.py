"""`flowweaver release-finalizers`, as far as it goes without a cluster; tests/chart has it with one."""

from __future__ import annotations

import pytest

from flowweaver.cli import main


@pytest.mark.parametrize("name", ["operator", "/operator", "here/", "a/b/c"])
def test_a_statefulset_that_is_not_named_with_its_namespace_is_refused(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["release-finalizers", "--statefulset", name]) == 2
    assert f'--statefulset is "{name}": write NAMESPACE/NAME' in capsys.readouterr().err


def test_without_a_cluster_it_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path}/none")
    assert main(["release-finalizers"]) == 2
    assert "no Kubernetes" in capsys.readouterr().err
    assert main(["first-workflow"]) == 2
    assert "no Kubernetes" in capsys.readouterr().err
