"""The table of conditions, and when their times move."""

from __future__ import annotations

import pytest

from flowweaver.operator.conditions import PHASES, TABLE, TYPES, Standing, conditions, table_as_markdown


def said(standing: Standing, previous=(), now: float = 0.0) -> dict[str, dict[str, object]]:
    found = conditions(standing, reason="TaskFailed", message="m", generation=2, previous=previous, now=now)
    return {condition["type"]: condition for condition in found}


def test_every_standing_speaks_of_every_condition():
    assert {standing: tuple(row) for standing, row in TABLE.items()} == dict.fromkeys(Standing, TYPES)


@pytest.mark.parametrize("standing", Standing)
def test_finished_is_true_exactly_where_the_phase_has_ended(standing):
    ended = PHASES[standing] in {"Completed", "Failed", "Cancelled"}
    assert said(standing)["Finished"]["status"] == ("True" if ended else "False")


@pytest.mark.parametrize("standing", Standing)
def test_succeeded_is_open_until_the_end_and_true_only_for_completed(standing):
    expected = {"Completed": "True", "Failed": "False", "Cancelled": "False"}.get(PHASES[standing], "Unknown")
    assert said(standing)["Succeeded"]["status"] == expected


@pytest.mark.parametrize("standing", Standing)
def test_tools_that_read_kstatus_see_progress_failure_or_neither_but_never_both(standing):
    found = said(standing)
    assert not (found["Reconciling"]["status"] == found["Stalled"]["status"] == "True")
    assert (found["Stalled"]["status"] == "True") == (PHASES[standing] in {"Failed", "Cancelled"} or "lost" in standing)


def test_the_time_of_a_transition_moves_only_where_the_status_flips():
    running = said(Standing.RUNNING, now=10.0)
    failed = said(Standing.FAILED, previous=tuple(running.values()), now=20.0)
    moved = {kind for kind in TYPES if failed[kind]["lastTransitionTime"] == "1970-01-01T00:00:20Z"}
    assert moved == {"Finished", "Succeeded", "Reconciling", "Stalled"}
    assert failed["Accepted"]["lastTransitionTime"] == "1970-01-01T00:00:10Z"


def test_the_run_s_own_reason_stands_where_the_table_leaves_it_open():
    assert said(Standing.FAILED)["Succeeded"]["reason"] == "TaskFailed"
    assert said(Standing.FAILED)["Finished"]["reason"] == "Failed"


def test_a_long_message_is_cut():
    found = conditions(Standing.FAILED, reason="", message="x" * 9999, generation=1, previous=(), now=0)
    assert max(len(str(condition["message"])) for condition in found) == 2048


def test_the_table_of_the_docs_has_a_row_for_each_standing_and_a_column_for_each_condition():
    rows = [line for line in table_as_markdown().splitlines() if not line.startswith("|---")]
    assert len(rows) == 1 + len(Standing)
    assert {row.count("|") for row in rows} == {3 + len(TYPES)}
