"""Pictures of a workflow."""

from __future__ import annotations

import webbrowser

import pytest

from flowweaver import SequentialExecutor, Task, TaskStatus, Workflow, export_mermaid, save_mermaid, view_mermaid


@pytest.fixture
def workflow():
    made = Workflow("drawn")
    made.add_task(Task("extract", lambda: 1))
    made.add_task(Task("load-all", lambda: 2), depends_on=["extract"])
    made.add_task(Task("2nd report", lambda: 3), depends_on=["extract", "load-all"])
    return made


def lines(text):
    return [line.strip() for line in text.splitlines()]


def test_a_diagram_has_a_node_a_task_and_an_arrow_a_dependency(workflow):
    drawn = lines(export_mermaid(workflow))

    assert drawn[0] == "graph TD"
    assert {"extract --> load_all", "extract --> _2nd_report", "load_all --> _2nd_report"} <= set(drawn)
    for shown in ("extract", "load-all", "2nd report"):
        assert sum(shown in line and "[" in line for line in drawn) == 1


@pytest.mark.parametrize("orientation", ["TD", "TB", "BT", "LR", "RL", "lr"])
def test_a_diagram_goes_where_it_is_told_to(workflow, orientation):
    assert lines(export_mermaid(workflow, orientation))[0] == f"graph {orientation.upper()}"
    assert lines(export_mermaid(workflow, orientation=orientation))[0] == f"graph {orientation.upper()}"


@pytest.mark.parametrize("orientation", ["XY", "", "left"])
def test_another_direction_is_a_value_error_that_names_it(workflow, orientation, tmp_path):
    with pytest.raises(ValueError, match=repr(orientation.upper())):
        export_mermaid(workflow, orientation=orientation)
    with pytest.raises(ValueError, match="LR"):
        save_mermaid(workflow, str(tmp_path / "never.md"), orientation)
    with pytest.raises(ValueError, match="LR"):
        view_mermaid(workflow, orientation)

    assert not (tmp_path / "never.md").exists()


def test_the_colours_follow_the_statuses(workflow):
    for name, status in [("extract", "COMPLETED"), ("load-all", "FAILED"), ("2nd report", "RUNNING")]:
        workflow.get_task(name).status = TaskStatus[status]
    workflow.add_task(Task("waits", lambda: 4))

    drawn = lines(export_mermaid(workflow))

    assert {"class extract completed", "class load_all failed", "class _2nd_report running", "class waits pending"} <= {
        line.rstrip(";") for line in drawn
    }
    fills = {"completed": "#28a745", "failed": "#dc3545", "running": "#fd7e14", "pending": "#6c757d"}
    for status, fill in fills.items():
        assert any(line.startswith(f"classDef {status} fill:{fill}") for line in drawn)


def test_tasks_of_one_status_are_coloured_together(workflow):
    SequentialExecutor().execute(workflow)

    assert "class extract,load_all,_2nd_report completed" in lines(export_mermaid(workflow))


def test_a_workflow_without_tasks_is_an_empty_diagram():
    assert export_mermaid(Workflow("empty"), "LR") == "graph LR\n"


def test_a_diagram_is_saved_as_it_is_exported(workflow, tmp_path):
    path = tmp_path / "diagram.md"
    path.write_text("what was there before, and is longer than nothing")

    assert save_mermaid(workflow, str(path), orientation="LR") is None

    assert path.read_text(encoding="utf-8") == export_mermaid(workflow, orientation="LR")


def test_what_can_not_be_written_is_an_error_of_the_system(workflow, tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        save_mermaid(workflow, str(tmp_path / "nowhere" / "diagram.md"))


def test_a_diagram_is_shown_in_the_browser_from_a_file(workflow, monkeypatch, tmp_path):
    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda url, *others: opened.append(url) or True)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)

    path = view_mermaid(workflow, "LR")

    assert opened == [path.as_uri()]
    assert path.suffix == ".html"
    page = path.read_text(encoding="utf-8")
    assert "<title>drawn" in page
    assert "graph LR" in page
    assert "load_all" in page
