"""Whether the tests notice a small wrong change of the core: `python -m tests.mutation`, or `make mutation`.

Each mutant lives in a process of its own, forked when all is loaded, and runs the fast tests until one fails. What
survives is printed, unless `equivalent.toml` says why no test could tell the difference.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
import tomllib
from collections import Counter
from pathlib import Path

from tests.mutation.judging import Judge
from tests.mutation.mutants import Mutant, enums_of, find

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PACKAGE = "flowweaver.core"
WORDS = ("killed", "timed out", "survived", "equivalent")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("modules", nargs="*", help="modules of the core, all where none is named: drafts, apply, …")
    parser.add_argument("--jobs", type=int, default=2, help="processes at once")
    parser.add_argument("--every", type=int, default=1, help="every n-th mutant only")
    parser.add_argument("--least", type=float, default=0.9, help="the share that must be noticed")
    arguments = parser.parse_args()
    os.chdir(ROOT)
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = tempfile.mkdtemp()
    folder = Path(importlib.util.find_spec("flowweaver").submodule_search_locations[0]) / "core"
    sources = {f"{PACKAGE}.{path.stem}": path.read_text() for path in sorted(folder.glob("[a-z]*.py"))}
    enums = {name: members for source in sources.values() for name, members in enums_of(source).items()}
    wanted = [
        name for name in sources if not arguments.modules or name.removeprefix(f"{PACKAGE}.") in arguments.modules
    ]
    mutants = [mutant for name in wanted for mutant in find(name, sources[name], enums)][:: arguments.every]
    verdicts = Judge(sources, enums, arguments.jobs).judge(mutants)
    known = tomllib.loads((HERE / "equivalent.toml").read_text()).get("equivalent", [])
    return 0 if report(verdicts, known) >= arguments.least else 1


def report(verdicts: dict[Mutant, str], known: list[dict[str, str]]) -> float:
    """Print what became of them; gives the share of all that was noticed, equivalent ones counted as not."""
    reasons = {(entry["module"], entry["text"], entry["what"]) for entry in known}
    counts: dict[str, Counter[str]] = {}
    for mutant, verdict in sorted(verdicts.items(), key=lambda pair: (pair[0].module, pair[0].line, pair[0].index)):
        name = mutant.module.removeprefix(f"{PACKAGE}.")
        excused = verdict == "survived" and (name, mutant.text, mutant.what) in reasons
        counts.setdefault(name, Counter())["equivalent" if excused else verdict] += 1
        if verdict == "survived" and not excused:
            say(f"{name}:{mutant.line}: {mutant.what}", f"    {mutant.text}")
    total = sum(counts.values(), Counter())
    say("", f"{'module':12}" + "".join(f"{word:>12}" for word in WORDS))
    for name, count in [*sorted(counts.items()), ("all", total)]:
        say(f"{name:12}" + "".join(f"{count[word]:12}" for word in WORDS))
    noticed = total["killed"] + total["timed out"]
    share = noticed / max(1, total.total())
    others = noticed / max(1, total.total() - total["equivalent"])
    say("", f"noticed: {noticed} of {total.total()}, {share:.1%}; of those that are not equivalent {others:.1%}")
    return share


def say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    sys.exit(main())
