"""Workflows as the API server shows them: parsed without a word, remembered in their newest state."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flowweaver.operator.claims import claim, release
from flowweaver.operator.live_stores import LiveStores
from flowweaver.operator.names import FINALIZER, STORE_ANNOTATION
from flowweaver.operator.objects import ObjectCache, Wishes, parse
from flowweaver.operator.world import CLAIM_GRACE_SECONDS, Owner
from flowweaver.ports import StorePosition
from tests.operator.worlds import STORE, held, reported, unseen

RAW = {
    "metadata": {
        "namespace": "shop",
        "name": "etl",
        "uid": "u1",
        "resourceVersion": "12",
        "generation": 3,
        "labels": {"flowweaver.io/instance": "blue"},
        "annotations": {STORE_ANNOTATION: "ours"},
        "finalizers": ["other", FINALIZER],
        "deletionTimestamp": "2026-01-01T00:00:00Z",
    },
    "spec": {"suspend": True, "shutdown": "Stop", "rerun": "r", "priority": 4, "parallelism": 2, "tasks": []},
    "status": {
        "phase": "Failed",
        "observedGeneration": 2,
        "startedAt": "2026-01-01T12:00:00Z",
        "finishedAt": "1970-01-01T00:01:00.500Z",
        "conditions": [
            {"type": "Accepted", "status": "True"},
            {"type": "Stalled", "status": "True", "reason": "StateLost"},
        ],
        "store": {"id": "ours", "epoch": 3, "sequence": 9},
    },
}


def test_everything_that_decides_is_read():
    found = parse(RAW)
    assert (found.key, found.uid, found.generation, found.instance) == ("shop/etl", "u1", 3, "blue")
    assert (found.held, found.claimed_by, found.deleting) == (True, "ours", True)
    assert found.wishes == Wishes(suspend=True, shutdown="Stop", rerun="r", priority=4, parallelism=2)
    shown = found.reported
    assert (shown.phase, shown.observed_generation, shown.started, shown.finished_at) == ("Failed", 2, True, 60.5)
    assert (shown.accepted, shown.stalled, shown.store) == (True, "StateLost", StorePosition("ours", 3, 9))


def test_the_body_is_kept_only_while_it_may_have_to_be_validated():
    assert parse(RAW).body is None
    fresh = {**RAW, "status": {"phase": "Pending", "observedGeneration": -1}}
    assert parse(fresh).body is fresh


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"metadata": None, "spec": None, "status": None},
        {"metadata": {"labels": [], "annotations": 3}, "spec": [], "status": {"conditions": ["x"], "store": "y"}},
        {"spec": {"priority": "high", "parallelism": "all", "suspend": "no"}, "status": {"finishedAt": "soon"}},
    ],
)
def test_nothing_that_stands_in_an_object_stops_the_others(odd):
    assert parse(odd).wishes == Wishes()


def test_an_older_picture_does_not_replace_a_newer_one_but_a_listed_one_does():
    cache = ObjectCache()
    cache.put(unseen(resource_version="9", generation=2))
    cache.put(unseen(resource_version="8"))
    assert cache.get("shop/etl").generation == 2
    cache.put(unseen(resource_version="8"), listed=True)
    assert cache.get("shop/etl").generation == 1


def test_removing_an_object_spares_the_next_one_of_its_name():
    cache = ObjectCache()
    cache.put(unseen(uid="u2"))
    cache.remove("shop/etl", "u1")
    assert cache.get("shop/etl").uid == "u2"
    cache.remove("shop/etl", "u2")
    assert cache.get("shop/etl") is None


def test_what_a_write_of_ours_made_of_an_object_is_known_before_the_watch_shows_it():
    cache = ObjectCache()
    cache.put(unseen(resource_version="7"))
    cache.amend("shop/etl", "u1", "9", reported=reported("Completed"))
    assert cache.get("shop/etl").reported.phase == "Completed"
    cache.put(unseen(resource_version="8"))  # an echo of something older
    assert cache.get("shop/etl").reported.phase == "Completed"
    cache.amend("shop/etl", "u2", "10", generation=5)
    assert cache.get("shop/etl").generation == 1


# ---------------------------------------------------------------------------------------------------------------- marks


def test_claiming_tests_that_nobody_else_has_put_anything_there():
    assert claim(unseen(), "ours") == [
        {"op": "test", "path": "/metadata/uid", "value": "u1"},
        {"op": "test", "path": "/metadata/annotations", "value": None},
        {"op": "add", "path": "/metadata/annotations", "value": {STORE_ANNOTATION: "ours"}},
        {"op": "test", "path": "/metadata/finalizers", "value": None},
        {"op": "add", "path": "/metadata/finalizers", "value": [FINALIZER]},
    ]


def test_claiming_keeps_other_annotations_and_finalizers_and_takes_over_only_what_it_has_seen():
    there = unseen(annotated=True, claimed_by="theirs", finalizers=("other",))
    pointer = "/metadata/annotations/flowweaver.io~1store"
    assert claim(there, "ours") == [
        {"op": "test", "path": "/metadata/uid", "value": "u1"},
        {"op": "test", "path": pointer, "value": "theirs"},
        {"op": "add", "path": pointer, "value": "ours"},
        {"op": "add", "path": "/metadata/finalizers/-", "value": FINALIZER},
    ]


def test_what_is_claimed_already_needs_no_patch():
    assert claim(held(), "ours") == []
    assert release(unseen()) == []


def test_releasing_takes_off_our_finalizer_and_no_other():
    there = held(finalizers=("other", FINALIZER))
    assert release(there) == [
        {"op": "test", "path": "/metadata/uid", "value": "u1"},
        {"op": "test", "path": "/metadata/finalizers/1", "value": FINALIZER},
        {"op": "remove", "path": "/metadata/finalizers/1"},
    ]


# ------------------------------------------------------------------------------------------------------- other engines


THEIRS = StorePosition("theirs", 1, 10)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_another_store_counts_as_lost_only_after_a_while_in_which_it_did_nothing():
    clock = Clock()
    live = LiveStores("ours", clock=clock)
    theirs = unseen(reported=reported(store=THEIRS))
    live.saw(None, theirs)
    assert live.owner(theirs) == (Owner.UNSURE, CLAIM_GRACE_SECONDS)
    clock.now += CLAIM_GRACE_SECONDS
    assert live.owner(theirs) == (Owner.DEAD, 0.0)


def test_another_store_that_writes_lives():
    clock = Clock()
    live = LiveStores("ours", clock=clock)
    before = unseen(reported=reported(store=THEIRS))
    after = unseen(reported=reported(store=replace(THEIRS, sequence=11)))
    live.saw(None, before)
    assert live.saw(before, after)
    clock.now += 10_000
    assert live.owner(after) == (Owner.ALIVE, 0.0)
    assert live.owner(unseen(claimed_by="theirs")) == (Owner.ALIVE, 0.0)


def test_a_new_object_or_an_edit_shows_nothing_of_another_store():
    live = LiveStores("ours")
    before = unseen(reported=reported(store=THEIRS))
    assert not live.saw(None, before)
    assert not live.saw(before, replace(before, generation=2))
    assert not live.saw(replace(before, uid="u0"), unseen(reported=reported(store=replace(THEIRS, sequence=99))))


def test_an_old_event_that_comes_after_our_own_write_shows_nothing_of_another_store():
    live = LiveStores("ours")
    before = unseen(reported=reported(store=THEIRS), claimed_by="theirs")
    live.saw(None, before)
    written = replace(before, resource_version="9", reported=reported(store=STORE), claimed_by="ours")
    assert not live.saw(written, replace(before, resource_version="8"))
    assert live.owner(before)[0] is Owner.UNSURE


def test_the_store_of_this_pods_last_life_does_not_come_to_life_by_what_it_had_sent():
    clock = Clock()
    live = LiveStores("ours", clock=clock)
    live.replaced("theirs")
    before = unseen(reported=reported(store=THEIRS))
    live.saw(None, before)
    assert not live.saw(before, unseen(resource_version="8", reported=reported(store=replace(THEIRS, sequence=11))))
    clock.now += CLAIM_GRACE_SECONDS
    assert live.owner(before) == (Owner.DEAD, 0.0)


def test_what_nobody_or_we_have_accepted_is_ours():
    live = LiveStores("ours")
    assert live.owner(unseen())[0] is Owner.OURS
    assert live.owner(held())[0] is Owner.OURS
