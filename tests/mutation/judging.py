"""Runs the fast tests on mutants, each in a process of its own that is forked when all is loaded.

A change in a function is made by giving the function other code. One in what a module does when it is loaded needs a
process that loads everything anew.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import logging
import os
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from types import CodeType, FunctionType, ModuleType

import pytest
from _pytest.runner import runtestprotocol

from tests.mutation.mutants import Mutant, mutate

ENGINE = ("conductor", "openings", "changed_plans", "watching")
TESTS = ["tests/core", *(f"tests/engine/test_{name}.py" for name in ENGINE)]
SLOW = ("test_graph.py", "test_revision.py")  # many random graphs: for the modules that deal with graphs
GRAPHS = ("graph", "plan", "revision")
OPTIONS = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "--hypothesis-seed=0", "-m", "not slow"]
AT_LOAD = {("flowweaver.core.plan", "_usual")}  # functions that are called when their module is loaded, and no more
FIRST, HISTORIES = 25, 200  # a few before the tests, the others after them
SECONDS = 90.0  # for one mutant
BYTES = 2 << 30
NOTICED, SURVIVED = 0, 7


class Judge:
    """Knows the modules; judges their mutants."""

    def __init__(self, sources: dict[str, str], enums: dict[str, list[str]], jobs: int) -> None:
        self._sources = sources
        self._enums = enums
        self._jobs = jobs

    def judge(self, mutants: Sequence[Mutant]) -> dict[Mutant, str]:
        """What became of each one: killed, survived or timed out. The code as it is must pass first."""
        _, status = os.waitpid(_forked(lambda: _Session(lambda run: run(None)).verdicts()), 0)
        if os.waitstatus_to_exitcode(status) != SURVIVED:
            raise SystemExit("the tests fail on the code as it is")
        verdicts = self._each([mutant for mutant in mutants if _at_load(mutant)], self._loaded_anew)
        others = _Session(lambda run: self._in_functions(mutants, run)).verdicts()
        if others is False:
            raise SystemExit("the tests can not be loaded")
        return verdicts | others

    def _in_functions(self, mutants: Sequence[Mutant], run: Callable[[Mutant | None], bool]) -> dict[Mutant, str]:
        def patched(mutant: Mutant) -> bool:
            self._patch(mutant)
            return run(mutant)

        return self._each([mutant for mutant in mutants if not _at_load(mutant)], patched)

    def _code(self, mutant: Mutant) -> CodeType:
        return compile(mutate(self._sources[mutant.module], mutant, self._enums), mutant.module, "exec")

    def _patch(self, mutant: Mutant) -> None:
        code: CodeType = self._code(mutant)
        found: object = sys.modules[mutant.module]
        for name in mutant.place.split("."):
            code = next(it for it in code.co_consts if isinstance(it, CodeType) and it.co_name == name)
            found = vars(found)[name]
        for wrapper in ("fget", "__func__"):
            found = getattr(found, wrapper, found)
        assert isinstance(found, FunctionType)
        found.__code__ = code

    def _loaded_anew(self, mutant: Mutant) -> bool:
        sys.meta_path.insert(0, _Changed(mutant.module, self._code(mutant)))
        if not _plays(range(FIRST)):  # sooner known than all tests are collected
            return False
        return _Session(lambda run: run(mutant)).verdicts()

    def _each(self, mutants: Sequence[Mutant], survives: Callable[[Mutant], bool]) -> dict[Mutant, str]:
        verdicts: dict[Mutant, str] = {}
        waiting = list(reversed(mutants))
        running: dict[int, tuple[Mutant, float]] = {}
        while waiting or running:
            while waiting and len(running) < self._jobs:
                mutant = waiting.pop()
                running[_forked(lambda mutant=mutant: survives(mutant))] = (mutant, time.monotonic())
            time.sleep(0.005)
            for process, (mutant, began) in list(running.items()):
                late = time.monotonic() - began > SECONDS
                if late:
                    os.kill(process, signal.SIGKILL)
                ended, status = os.waitpid(process, 0 if late else os.WNOHANG)
                if ended:
                    del running[process]
                    survived = os.waitstatus_to_exitcode(status) == SURVIVED
                    verdicts[mutant] = "timed out" if late else "survived" if survived else "killed"
                    if survived:
                        sys.__stderr__.write(f"{mutant.module}:{mutant.line}: {mutant.what}\n    {mutant.text}\n")
                    if not len(verdicts) % 50:
                        sys.__stderr__.write(f"{len(verdicts)} of {len(mutants)}: {dict(Counter(verdicts.values()))}\n")
        return verdicts


def _at_load(mutant: Mutant) -> bool:
    return not mutant.place or (mutant.module, mutant.place) in AT_LOAD


def _forked(survives: Callable[[], bool]) -> int:
    """Answer in a process of its own; gives its number."""
    sys.__stdout__.flush()
    if process := os.fork():
        return process
    status = NOTICED
    try:
        resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        status = SURVIVED if survives() else NOTICED
    finally:
        os._exit(status)


def _plays(seeds: range) -> bool:
    logging.disable()
    try:
        history = importlib.import_module("tests.simulation.history").History
        for seed in seeds:
            history(seed).play()
    except Exception:  # noqa: BLE001 - a mutant may raise whatever it likes
        return False
    finally:
        logging.disable(logging.NOTSET)
    return True


class _Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads other code in place of a module's own."""

    def __init__(self, name: str, code: CodeType) -> None:
        self._name = name
        self._code = code

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(name, self) if name == self._name else None

    def exec_module(self, module: ModuleType) -> None:
        exec(self._code, module.__dict__)


class _Session:
    """One session of pytest, which collects the tests once and then does something else with them."""

    def __init__(self, use: Callable[[Callable[[Mutant | None], bool]], object]) -> None:
        self._use = use
        self._answer: object = None

    def verdicts(self):
        status = pytest.main([*OPTIONS, *TESTS], plugins=[self])
        if self._answer is None:
            return False  # it could not even be loaded
        assert status == 0
        return self._answer

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        session.items.sort(key=lambda item: item.path.name in SLOW)

        def passes(mutant: Mutant | None) -> bool:
            graphs = mutant is None or mutant.module.endswith(GRAPHS)
            items = [item for item in session.items if graphs or item.path.name not in SLOW]
            for item, after in zip(items, [*items[1:], None], strict=True):
                if any(report.failed for report in runtestprotocol(item, log=False, nextitem=after)):
                    return False
            return True

        def survives(mutant: Mutant | None) -> bool:
            return _plays(range(FIRST)) and passes(mutant) and _plays(range(FIRST, HISTORIES))

        self._answer = self._use(survives)
        return True
