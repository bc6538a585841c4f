"""`flowweaver graph`: what is drawn, of a manifest, a state file and a cluster."""

from __future__ import annotations

import json
import random
import re
from itertools import combinations
from xml.etree import ElementTree as ET

import pytest

from flowweaver.cli.graph_formats import as_mermaid
from flowweaver.cli.graph_layout import place
from flowweaver.cli.graph_picture import DrawnTask, Picture
from flowweaver.cli.graph_svg import NODE_HEIGHT, as_svg
from tests.cluster import assets
from tests.cluster.workflows import workflow

SVG = "{http://www.w3.org/2000/svg}"
FAILING = """
- name: good
  value: 1
- name: bad
  dependsOn: [good]
  retry: {limit: 1, delay: 1ms}
  shell: {script: exit 7}
- name: after
  value: ${tasks.bad.result}
"""


@pytest.fixture
def failed(flowweaver, manifest) -> str:
    """A state file with a run that has failed."""
    assert flowweaver("run", manifest(FAILING), "--state", "state.db").returncode == 1
    return "state.db"


def test_a_manifest_is_drawn_by_steps_with_what_each_task_waits_for(flowweaver, manifest):
    result = flowweaver("graph", manifest(FAILING))

    assert result.returncode == 0, result.stderr
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["probe", "3", "tasks"],
        [],
        ["STEP", "TASK", "AFTER"],
        ["1", "good"],
        ["2", "bad", "good"],
        ["3", "after", "bad"],
    ]


def test_a_run_of_a_state_file_is_drawn_with_phases_attempts_and_reasons(flowweaver, failed):
    lines = flowweaver("graph", "--state", failed).stdout.splitlines()

    assert lines[0] == "probe  Failed: 1 completed, 1 failed, 1 skipped"
    assert re.match(r"   1  good   ✔ Completed, \d\.\d\d s", lines[3])
    assert re.match(r"   2  bad    ✘ Failed, 2 attempts, .* good   TaskFailed: the program ended", lines[4])
    assert re.match(r"   3  after  – Skipped +bad    DependencyNotCompleted", lines[5])


def test_a_run_is_drawn_while_it_is_under_way(start, flowweaver, manifest, folder):
    held = "- name: held\n  shell: {script: 'touch began; until test -e go; do sleep 0.05; done'}\n"
    running = start("run", manifest(held), "--state", "state.db")
    while not (folder / "began").exists():
        assert running.poll() is None

    drawn = flowweaver("graph", "--state", "state.db")
    (folder / "go").touch()

    assert "held  ▶ Running" in drawn.stdout, drawn.stderr
    assert running.wait(60) == 0


def test_mermaid_has_a_node_an_edge_and_a_class_for_each(flowweaver, failed):
    lines = [line.strip() for line in flowweaver("graph", "--state", failed, "--format", "mermaid").stdout.splitlines()]

    assert lines[0] == "graph LR"
    assert any(re.fullmatch(r'bad\["bad<br/>Failed, 2 attempts, .* s"\]', line) for line in lines)
    assert {"good --> bad", "bad --> after", "class good completed", "class bad failed", "class after skipped"} <= set(
        lines
    )


def test_svg_is_one_file_that_says_everything_in_words_too(flowweaver, failed):
    text = flowweaver("graph", "--state", failed, "-f", "svg").stdout
    root = ET.fromstring(text)

    assert root.get("role") == "img"
    labels = [root.find(f".//*[@id='{name}']").text for name in root.get("aria-labelledby").split()]
    assert labels[0] == "probe: Failed: 1 completed, 1 failed, 1 skipped"
    assert labels[1] == "good, Completed. bad, Failed, after good. after, Skipped, after bad."
    shown = [found.text for found in root.iter(f"{SVG}text")]
    assert any(re.fullmatch(r"Failed · 2 attempts · .* s", line) for line in shown)
    assert any("TaskFailed: the program ended" in found.text for found in root.iter(f"{SVG}title"))
    assert (
        len([found for found in root.iter(f"{SVG}path") if found.get("d").startswith("M") and " C" in found.get("d")])
        == 2
    )
    assert not re.search(r"<script|href=|url\((?!#flowweaver-arrow\))|@import", text)


def test_a_workflow_of_several_is_chosen_by_name(flowweaver, manifest, failed):
    flowweaver("run", manifest("- name: a\n  value: 1\n", name="other"), "--state", failed)

    refused = flowweaver("graph", "--state", failed)
    chosen = flowweaver("graph", "--state", failed, "--run", "other")
    unknown = flowweaver("graph", "--state", failed, "--run", "nobody")

    assert refused.returncode == unknown.returncode == 2
    assert "holds 2 such workflows: choose one by --run (other, probe)" in refused.stderr
    assert chosen.stdout.startswith("other  Completed: 1 completed\n")
    assert "--run nobody: state.db has no such run (it has: other, probe)" in unknown.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give one of FILE, --state DB and --workflow NAME"),
        (["probe.yaml", "--state", "x.db"], "give one of FILE, --state DB and --workflow NAME"),
        (["probe.yaml", "--run", "x"], "--run goes with --state"),
        (["probe.yaml", "--namespace", "x"], "--namespace and --context goes with --workflow"),
        (["--state", "none.db"], "none.db is not there"),
        (["none.yaml"], "none.yaml: can not be read"),
    ],
)
def test_what_can_not_be_drawn_is_refused(flowweaver, arguments, said):
    result = flowweaver("graph", *arguments)

    assert result.returncode == 2
    assert said in result.stderr


def test_a_manifest_that_is_not_valid_is_refused_with_the_line(flowweaver, manifest):
    result = flowweaver("graph", manifest("- name: a\n  dependsOn: [nobody]\n  value: 1\n"))

    assert result.returncode == 2
    assert result.stderr.startswith("probe.yaml:7: spec.tasks[0].dependsOn[0]: ")


@pytest.mark.control_plane
def test_a_workflow_of_a_cluster_is_drawn_with_what_its_status_says(flowweaver, kubectl, control_plane):
    tasks = [{"name": "good", "value": 1}, {"name": "bad", "value": "${tasks.good.result}"}]
    kubectl.apply(workflow("shop", *tasks))
    entries = [
        {"name": "good", "phase": "Completed", "attempts": 1, "startedAt": "2026-01-02T03:04:05Z"},
        {"name": "bad", "phase": "Failed", "reason": "ExpressionError", "message": "no"},
    ]
    store = {"id": "a", "epoch": 1, "sequence": 1}
    status = {"status": {"observedGeneration": 1, "phase": "Failed", "tasks": entries, "store": store}}
    kubectl("patch", "fw", "shop", "--subresource=status", "--type=merge", "-p", json.dumps(status))

    drawn = flowweaver(
        "graph",
        *("--workflow", "shop", "--namespace", kubectl.namespace, "--context", "test"),
        KUBECONFIG=str(control_plane.kubeconfig),
        PATH=str(assets.find("kubectl").parent),
    )

    assert drawn.returncode == 0, drawn.stderr
    lines = drawn.stdout.splitlines()
    assert lines[0] == f"{kubectl.namespace}/shop  Failed: 1 completed, 1 failed"
    assert lines[4].split() == ["2", "bad", "✘", "Failed", "good", "ExpressionError:", "no"]


# ------------------------------------------------------------------------------------------------- text that is hostile

HOSTILE = 'a"]-->b;<script>alert(1)</script>&amp;\x1b[2J\x00\ud7ff'


def test_a_name_can_not_break_out_of_the_svg():
    picture = Picture(title=HOSTILE, tasks=(DrawnTask(name=HOSTILE, depends_on=(), phase="Failed", reason=HOSTILE),))

    root = ET.fromstring(as_svg(picture))

    assert "script" not in {found.tag.removeprefix(SVG) for found in root.iter()}
    assert any("<script>alert(1)</script>&amp;" in (found.text or "") for found in root.iter(f"{SVG}title"))


def test_a_name_can_not_break_out_of_the_mermaid_label():
    lines = as_mermaid(Picture(title="x", tasks=(DrawnTask(name=HOSTILE, depends_on=()),))).splitlines()

    assert len(lines) == 2
    assert lines[1].count('"') == 2
    assert "<script" not in lines[1]


# ----------------------------------------------------------------------------------------------- the layout


def random_graph(seed: int, number: int, width: int = 9) -> list[list[int]]:
    chosen = random.Random(seed)
    return [
        sorted(chosen.sample(range(max(0, node - width), node), min(node, chosen.choice([0, 1, 1, 2, 3]))))
        for node in range(number)
    ]


@pytest.mark.parametrize("seed", range(20))
def test_no_two_nodes_of_thirty_overlap_and_no_edge_runs_through_one(seed):
    graph = random_graph(seed, 30)
    gap = 18
    layout = place(graph, node_height=NODE_HEIGHT, gap=gap)

    for one, other in combinations(range(30), 2):
        if layout.layers[one] == layout.layers[other]:
            assert abs(layout.middles[one] - layout.middles[other]) >= NODE_HEIGHT + gap - 0.01
    for points in layout.waypoints.values():
        for layer, height in points:
            for node in range(30):
                if layout.layers[node] == layer:
                    assert abs(layout.middles[node] - height) >= NODE_HEIGHT / 2 + gap - 0.01
    assert min(layout.middles) >= NODE_HEIGHT / 2 - 0.01


@pytest.mark.parametrize("seed", range(20))
def test_every_edge_goes_from_left_to_right(seed):
    graph = random_graph(seed, 60)
    layout = place(graph, node_height=1, gap=1)

    for node, found in enumerate(graph):
        for other in found:
            assert layout.layers[other] < layout.layers[node]
            between = [layer for layer, _ in layout.waypoints[other, node]]
            assert between == list(range(layout.layers[other] + 1, layout.layers[node]))


def test_two_chains_side_by_side_do_not_cross_however_they_were_written():
    # a0 and b0 begin, a1 and b1 go on; they are written crosswise.
    layout = place([[], [], [1], [0]], node_height=10, gap=5)

    assert (layout.middles[0] < layout.middles[1]) == (layout.middles[3] < layout.middles[2])
    assert layout.middles[0] == layout.middles[3]
    assert layout.middles[1] == layout.middles[2]


def test_a_node_stands_in_the_middle_of_what_it_waits_for():
    layout = place([[], [], [], [0, 1, 2]], node_height=10, gap=5)

    assert layout.middles[3] == layout.middles[1]


@pytest.mark.parametrize(
    "graph",
    [[], [[]], [[node - 1] if node else [] for node in range(2000)], random_graph(1, 1000, 900)],
    ids=["none", "one", "a chain of 2,000", "1,000 wild ones"],
)
def test_any_graph_is_drawn(graph):
    tasks = tuple(DrawnTask(name=f"t{node}", depends_on=tuple(found)) for node, found in enumerate(graph))

    root = ET.fromstring(as_svg(Picture(title="any", tasks=tasks)))

    assert len(list(root.iter(f"{SVG}rect"))) == len(graph) + 1
