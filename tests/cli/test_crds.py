"""`flowweaver crds`: what it prints, and finding drift."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from flowweaver.cli import main

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "crds").mkdir()
    (tmp_path / "charts" / "flowweaver").mkdir(parents=True)
    assert main(["crds", "--write", "--folder", str(tmp_path)]) == 0
    return tmp_path


def files(checkout: Path) -> list[Path]:
    return sorted(checkout.rglob("*.yaml"))


def test_it_prints_what_kubectl_applies(capsys):
    assert main(["crds"]) == 0
    (definition,) = yaml.safe_load_all(capsys.readouterr().out)
    assert definition["metadata"]["name"] == "workflows.flowweaver.io"


def test_the_files_of_this_repository_are_as_the_models_make_them(capsys):
    assert main(["crds", "--check", "--folder", str(ROOT)]) == 0, capsys.readouterr().err


def test_both_copies_are_written(checkout):
    assert [file.parent.name for file in files(checkout)] == ["crds", "crds"]
    assert len({file.read_text() for file in files(checkout)}) == 1


def test_what_was_written_has_not_drifted(checkout):
    assert main(["crds", "--check", "--folder", str(checkout)]) == 0


@pytest.mark.parametrize("which", [0, 1])
def test_drift_in_either_copy_exits_1_with_a_diff(checkout, which, capsys):
    file = files(checkout)[which]
    file.write_text(file.read_text().replace("maxItems: 1000", "maxItems: 2000"))
    capsys.readouterr()

    status = main(["crds", "--check", "--folder", str(checkout)])

    errors = capsys.readouterr().err
    assert status == 1
    assert f"--- {file}" in errors
    assert "maxItems: 2000" in errors


def test_a_missing_copy_is_drift(checkout):
    files(checkout)[0].unlink()

    assert main(["crds", "--check", "--folder", str(checkout)]) == 1


def test_outside_a_checkout_it_says_so(tmp_path, capsys):
    assert main(["crds", "--check", "--folder", str(tmp_path)]) == 2
    assert "there is no crds/ here" in capsys.readouterr().err


def test_check_and_write_exclude_each_other(checkout, capsys):
    assert main(["crds", "--check", "--write", "--folder", str(checkout)]) == 2
