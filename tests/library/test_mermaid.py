"""Workflows as pictures: whatever tasks are called, the text is one that Mermaid reads as it is meant."""

from __future__ import annotations

import itertools
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowweaver import Task, TaskStatus, Workflow, export_mermaid, save_mermaid, view_mermaid
from flowweaver.library.mermaid import ORIENTATIONS

NODE = re.compile(r'    ([A-Za-z_][A-Za-z0-9_]*)\["((?:[^"#;:%{}|<>\[\]`\\]|#\d+;|<br/>)*)"\]')
ARROW = re.compile(r"    ([A-Za-z0-9_]+) --> ([A-Za-z0-9_]+)")
STYLE = re.compile(r"    classDef ([a-z]+) [a-z0-9#:,-]+")
CLASS = re.compile(r"    class ([A-Za-z0-9_,]+) ([a-z]+)")


def workflow_of(names, dependencies=None):
    workflow = Workflow("drawn")
    for name in names:
        workflow.add_task(Task(name, print), depends_on=(dependencies or {}).get(name, ()))
    return workflow


def read(text):
    """What a reader that knows the rules finds in it: names by id, arrows, statuses by id. Any other line fails."""
    first, *lines = text.splitlines()
    assert first.split()[0] == "graph"
    names, arrows, statuses = {}, [], {}
    for line in filter(None, lines):
        if found := NODE.fullmatch(line):
            assert found[1] not in names
            names[found[1]] = unescaped(found[2])
        elif found := ARROW.fullmatch(line):
            arrows.append(found.groups())
        elif found := CLASS.fullmatch(line):
            statuses.update(dict.fromkeys(found[1].split(","), found[2]))
        else:
            assert STYLE.fullmatch(line), line
    return names, arrows, statuses


def unescaped(label):
    return re.sub(r"#(\d+);", lambda found: chr(int(found[1])), label.replace("<br/>", "\n"))


@given(st.lists(st.text(min_size=1, max_size=20).filter(lambda name: name[0] != "("), unique=True, max_size=20))
def test_any_names_give_nodes_of_their_own_with_labels_that_end_where_they_should(names):
    workflow = workflow_of(names, {later: [earlier] for earlier, later in itertools.pairwise(names)})

    found, arrows, statuses = read(export_mermaid(workflow))

    ends = re.compile(r"\r\n|[\r\n\x0b\x0c\x85\u2028\u2029]")
    assert list(found.values()) == [ends.sub("\n", name) for name in names]
    assert arrows == list(zip(list(found), list(found)[1:], strict=False))
    assert set(statuses) == set(found)


def test_names_that_look_alike_as_ids_are_told_apart():
    found, arrows, _ = read(export_mermaid(workflow_of(["a-b", "a b", "a_b_2", "a.b"], {"a.b": ["a-b", "a b"]})))

    assert list(found) == ["a_b", "a_b_2", "a_b_2_2", "a_b_3"]
    assert arrows == [("a_b", "a_b_3"), ("a_b_2", "a_b_3")]


@pytest.mark.parametrize("word", ["end", "class", "click", "subgraph", "style", "default", "graph", "v"])
def test_a_word_of_mermaids_own_is_no_id(word):
    found, arrows, _ = read(export_mermaid(workflow_of([word, "next"], {"next": [word]})))

    assert found == {f"{word}_": word, "next": "next"}
    assert arrows == [(f"{word}_", "next")]


def test_what_steers_mermaid_is_written_out():
    text = export_mermaid(workflow_of(["%%{init: {}}%%", 'a"] --> b["', "x|y\nz", "direction LR", "#quot;", "`m`"]))

    assert "%%" not in text
    assert "direction LR" not in text
    assert 'a#34;#93; --#62; b#91;#34;"]' in text
    assert "x#124;y<br/>z" in text
    assert "#35;quot#59;" in text
    assert "`" not in text


@pytest.mark.parametrize("status", TaskStatus)
def test_every_status_has_a_colour_of_its_own(status):
    workflow = workflow_of(["only"])
    workflow.get_task("only").status = status

    text = export_mermaid(workflow)

    assert read(text)[2] == {"only": status.value}
    colours = re.findall(r"classDef \w+ (.*)", text)
    assert len(set(colours)) == len(TaskStatus)


@pytest.mark.parametrize("orientation", [*ORIENTATIONS, "lr"])
def test_the_direction_is_the_one_that_was_asked_for(orientation):
    assert export_mermaid(workflow_of(["a"]), orientation).startswith(f"graph {orientation.upper()}\n")


@pytest.mark.parametrize("orientation", ["", "XY", None, 3])
def test_another_direction_is_refused_with_those_that_there_are(orientation, tmp_path):
    for draw in (export_mermaid, lambda *asked: save_mermaid(asked[0], tmp_path / "never", asked[1]), view_mermaid):
        with pytest.raises(ValueError, match="use one of TD, TB, BT, LR, RL"):
            draw(workflow_of(["a"]), orientation)
    assert not (tmp_path / "never").exists()


def test_a_big_picture_costs_what_a_small_one_costs_for_each_task():
    def seconds(count):
        # All ids collide, and every task depends on the one before.
        names = [
            "ä" * (1 + number % 3) + chr(0x4E00 + number % 5000) + "." * (number // 5000) for number in range(count)
        ]
        workflow = workflow_of(names, {later: [earlier] for earlier, later in itertools.pairwise(names)})
        began = time.process_time()
        read(export_mermaid(workflow))
        return time.process_time() - began

    small = min(seconds(1000) for _ in range(3))
    large = min(seconds(10_000) for _ in range(2))

    assert large < 40 * small  # a quadratic one takes 100 times as long


def test_a_file_gets_what_is_exported_and_replaces_what_was_there(tmp_path):
    workflow = workflow_of(["größer"])
    (tmp_path / "diagram.md").write_text("something longer than the diagram " * 100)

    assert save_mermaid(workflow, tmp_path / "diagram.md", "LR") is None
    assert save_mermaid(workflow, str(tmp_path / "other.md")) is None

    assert (tmp_path / "diagram.md").read_text("utf-8") == export_mermaid(workflow, "LR")
    assert (tmp_path / "other.md").read_text("utf-8") == export_mermaid(workflow)


class TestThePage:
    @pytest.fixture(autouse=True)
    def in_a_folder_of_its_own(self, monkeypatch, tmp_path):
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def test_it_is_opened_where_it_is(self, tmp_path):
        opened = []

        path = view_mermaid(workflow_of(["a"]), "LR", open_page=opened.append)

        assert opened == [path.as_uri()]
        assert path.parent == tmp_path
        assert "graph LR" in path.read_text("utf-8")

    def test_names_are_text_there_and_no_html(self):
        workflow = Workflow("</title><script>alert(1)</script>")
        workflow.add_task(Task("</pre><script>alert(2)</script>", print))

        page = view_mermaid(workflow, open_page=lambda _: True).read_text("utf-8")

        assert "<script>alert" not in page
        assert "&lt;/title&gt;&lt;script&gt;alert(1)" in page

    def test_it_shows_the_text_where_the_script_can_not_be_loaded(self):
        page = view_mermaid(workflow_of(["a", "b"], {"b": ["a"]}), open_page=lambda _: True).read_text("utf-8")

        assert re.search(r'<pre id="source">\ngraph TD\n\s+a\[&quot;a&quot;\]', page)
        assert "hidden" not in page.partition("<script>")[0]  # only the script takes it away, once there is a picture
        assert re.search(r'<script src="https://[^"]+" onload="draw\(\)"\s+onerror="undrawn\(', page)

    def test_where_there_is_no_browser_the_log_says_where_it_is(self, caplog):
        path = view_mermaid(workflow_of(["a"]), open_page=lambda _: False)

        assert str(path) in caplog.text


def test_the_old_place_to_import_from_still_works():
    from flowweaver import utils

    assert utils.export_mermaid is export_mermaid
    assert utils.save_mermaid is save_mermaid
    assert utils.view_mermaid is view_mermaid
