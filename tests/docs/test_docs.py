"""The docs are true: every manifest in them runs, every command in them works, every link leads somewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from flowweaver.cli import main
from flowweaver.manifest import Accepted, load_documents, validate
from flowweaver.policy import Policy
from tests.docs.blocks import BLOCKS, KINDS, PAGES, ROOT, commands, of, programs, run_commands, write_files


def test_every_block_says_what_it_is():
    found = Counter(block.kind for block in BLOCKS)

    assert set(found) <= KINDS, [str(block) for block in BLOCKS if block.kind not in KINDS]
    assert found["yaml"] >= 4
    assert found["console"] >= 5


@pytest.mark.parametrize("block", of("yaml"), ids=str)
def test_a_manifest_of_the_docs_is_accepted(block):
    for document in load_documents(block.text):
        verdict = validate(document, Policy.permissive())
        assert isinstance(verdict, Accepted), verdict.problems


@pytest.mark.parametrize("block", of("yaml"), ids=str)
def test_a_manifest_of_the_docs_runs_to_its_end(block, tmp_path, capsys):
    (tmp_path / "manifest.yaml").write_text(block.text)

    assert main(["run", str(tmp_path / "manifest.yaml")]) == 0, capsys.readouterr()


def test_the_first_manifest_of_the_readme_runs_on_the_default_installation_and_is_the_hello_example():
    first = next(block for block in of("yaml") if block.page == "README.md")
    (document,) = load_documents(first.text)

    assert isinstance(validate(document, Policy()), Accepted)
    assert [document] == load_documents((ROOT / "examples" / "hello.yaml").read_text())


@pytest.mark.parametrize("block", [block for block in of("console") if block.page not in programs()], ids=str)
def test_a_command_of_the_docs_does_what_the_docs_say(block, tmp_path):
    write_files(block.page, tmp_path)
    run_commands(block.text, tmp_path)


@pytest.mark.parametrize("block", of("yaml file"), ids=str)
def test_a_file_of_the_docs_is_used_by_a_command_of_its_page(block):
    console = [other.text for other in BLOCKS if other.page == block.page and other.kind.startswith("console")]

    assert any(block.file in command for text in console for command, _ in commands(text))


@pytest.mark.parametrize("block", of("cron"), ids=str)
def test_what_a_crontab_of_the_docs_starts_ends_well_and_prints_nothing(block, tmp_path):
    write_files(block.page, tmp_path)
    here = {"/opt/flowweaver/bin": str(Path(sys.executable).parent), "/etc/flowweaver": str(tmp_path / "examples")}
    for line in block.text.splitlines():
        *schedule, command = line.split(None, 5)
        assert all(re.fullmatch(r"\*|\*/\d+|\d+", field) for field in schedule)
        assert not re.search(r"(?<!\\)%", command), "an unescaped % is the end of the line to cron"
        for wanted, found in {**here, "/var/lib/flowweaver": str(tmp_path), "\\%": "%"}.items():
            command = command.replace(wanted, found)
        run_commands(f'$ out=$({command} 2>&1); echo "$? $out"\n0 ', tmp_path)


def test_what_takes_long_is_run_by_the_check_of_everything():
    stages = (ROOT / ".ci" / "run").read_text()

    for block in of("console slow"):
        for command, _ in commands(block.text):
            assert re.search(rf"^stage \S+ {re.escape(command)}$", stages, re.MULTILINE), command


@pytest.mark.slow
@pytest.mark.parametrize("block", of("console install"), ids=str)
def test_what_the_docs_install_can_be_installed(block, tmp_path):
    for name in ("examples", "requirements", "src"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("LICENSE", "README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    run_commands(block.text.replace("/opt/", f"{tmp_path}/opt/"), tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_the_docs_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith(("http://", "https://")):
            continue
        file, _, anchor = target.partition("#")
        there = (page.parent / file) if file else page
        assert there.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(there), f"{page.name}: {target}"


def test_the_readme_leads_to_every_page():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    for page in (ROOT / "docs").glob("*.md"):
        assert f"](docs/{page.name})" in readme, page.name


def test_what_the_docs_draw_from_the_code_is_as_the_code_makes_it():
    result = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"], capture_output=True, text=True, check=False
    )

    assert result.returncode == 0, result.stderr


def test_drift_in_the_docs_is_found(tmp_path):
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copytree(ROOT / "charts", tmp_path / "charts")
    page = tmp_path / "docs" / "state-machine.md"
    page.write_text(page.read_text().replace("Running --> Completed", "Running --> Skipped"))

    result = subprocess.run(
        [sys.executable, str(tmp_path / "docs" / "generate.py"), "--check"], capture_output=True, text=True, check=False
    )

    assert result.returncode == 1
    assert "-    Running --> Skipped" in result.stderr


def anchors(page: Path) -> set[str]:
    """As GitHub makes them: lower case, no punctuation, spaces as dashes."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
