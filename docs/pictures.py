"""Makes the pictures of the command line in docs/images, or in another folder, each from a real run: `make pictures`.

A workflow that looks after a shop at night is run twice by the command's own session. One time it is held while a few
tasks run, one waits for its next attempt and one has failed, and the table that a terminal would show is recorded. The
other time it runs to its end, and the state file that it leaves is drawn. How long tasks took is as it was seen, so
that no two pictures are the same to the letter.
"""

from __future__ import annotations

import io
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from flowweaver.assembly import build_engine
from flowweaver.cli.graph_picture import of_state
from flowweaver.cli.graph_svg import as_svg
from flowweaver.cli.progress import Silence
from flowweaver.cli.progress_board import Board
from flowweaver.cli.progress_live import picture
from flowweaver.cli.sessions import Session
from flowweaver.core.plan import RunPlan
from flowweaver.manifest import Accepted, load_documents, validate
from flowweaver.policy import Policy

IMAGES = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else Path(__file__).resolve().parent / "images"
WIDTH, LINES = 112, 24
LETTER = 12.2  # the width of a letter in rich's drawing
BLANK = "&#160;"
BLANKS = re.compile(
    r'x="(?P<x>[\d.]+)" y="(?P<y>[\d.]+)" textLength="(?P<length>[\d.]+)"(?P<rest>[^>]*)>'
    rf"(?P<before>(?:{BLANK})*)(?P<text>[^<]*?)(?P<after>(?:{BLANK})*)</text>"
)
HOLD = "until test -e go; do sleep 0.05; done"
REFUSING = 'test -e tried || { touch tried; echo "rates.example does not answer" >&2; exit 1; }'
MANIFEST = f"""
apiVersion: flowweaver.io/v1alpha1
kind: Workflow
metadata: {{name: nightly}}
spec:
  failurePolicy: Continue
  tasks:
    - {{name: orders, shell: {{script: sleep 0.4}}}}
    - {{name: customers, shell: {{script: sleep 0.3}}}}
    - {{name: rates, shell: {{script: '{REFUSING}'}}, retry: {{limit: 3, delay: 4s}}}}
    - {{name: clean-orders, dependsOn: [orders], shell: {{script: sleep 0.2}}}}
    - {{name: clean-customers, dependsOn: [customers], shell: {{script: '{HOLD}'}}}}
    - {{name: convert, dependsOn: [clean-orders, rates], shell: {{script: sleep 0.2}}}}
    - {{name: join, dependsOn: [convert, clean-customers], shell: {{script: sleep 0.3}}}}
    - {{name: revenue, dependsOn: [join], shell: {{script: sleep 0.2}}}}
    - {{name: forecast, dependsOn: [join, stock], shell: {{script: sleep 0.2}}}}
    - {{name: stock, shell: {{script: 'sleep 0.2; echo "warehouse 7 is not in the list" >&2; exit 4'}}}}
    - {{name: reorder, dependsOn: [forecast], shell: {{script: sleep 0.1}}}}
    - {{name: dashboard, dependsOn: [revenue, customers], shell: {{script: '{HOLD}'}}}}
    - {{name: report, dependsOn: [revenue, forecast], shell: {{script: sleep 0.1}}}}
    - {{name: notify, dependsOn: [report, dashboard], triggerRule: AllFinished, shell: {{script: sleep 0.1}}}}
    - {{name: archive, dependsOn: [orders, customers], shell: {{script: '{HOLD}'}}}}
"""


class Recorder(Silence):
    """Keeps where the tasks stand, and takes one picture of it."""

    def __init__(self, plan: RunPlan, taken: Callable[[Board], bool]) -> None:
        self.board = Board(plan)
        self._taken = taken
        self._done = False

    def task(self, notice):  # noqa: ANN001, ANN201 - as in Silence
        """See `Progress`."""
        self.board.update(notice.task, notice.state)

    def tell_what_runs(self) -> None:
        """See `Progress`."""
        self._done = self._done or self._taken(self.board)


def main() -> None:
    """Write both pictures."""
    accepted = validate(load_documents(MANIFEST)[0], Policy.permissive())
    assert isinstance(accepted, Accepted)
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        run(accepted.plan, Path("state.db"))
        write(IMAGES / "failed-run.svg", as_svg(of_state(Path("state.db"), "")))
        os.chdir("/")


def run(plan: RunPlan, state: Path) -> None:
    """Run it to its end, and write the table when it is worth to be looked at."""
    began = time.monotonic()

    def taken(board: Board) -> bool:
        counts = board.counts
        if time.monotonic() - began < 1.5 or not (counts["running"] and counts["waiting"] and counts["failed"]):
            return False
        console = Console(file=io.StringIO(), record=True, width=WIDTH, height=LINES, force_terminal=True)
        console.print(picture(board, plan.name, time.time(), time.monotonic() - began, WIDTH, LINES))
        # Without the fonts that the usual frame would load from elsewhere.
        frame = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
        svg = console.export_svg(title="flowweaver run nightly.yaml", code_format=frame, unique_id="progress")
        told = "The table of a run: two tasks run, one waits for its next attempt, one has failed."
        svg = svg.replace("<svg ", '<svg role="img" ', 1).replace(">", f"><title>{told}</title>", 1)
        write(IMAGES / "progress.svg", "\n".join(line.rstrip() for line in BLANKS.sub(moved, svg).splitlines()))
        Path("go").touch()
        return True

    with build_engine(state, policy=Policy.permissive(), workers=6) as assembly:
        Session(assembly.engine, plan, Recorder(plan, taken), state).run()


def moved(found: re.Match[str]) -> str:
    """The same text without the blanks before and behind it, which some programs draw and some do not."""
    before, after = (len(found[name]) // len(BLANK) for name in ("before", "after"))
    x = float(found["x"]) + before * LETTER
    length = float(found["length"]) - (before + after) * LETTER
    return f'x="{x:.1f}" y="{found["y"]}" textLength="{length:.1f}"{found["rest"]}>{found["text"]}</text>'


def write(file: Path, text: str) -> None:
    """Write it, and say so."""
    file.write_text(text.rstrip() + "\n", encoding="utf-8")
    print(f"wrote {file}")


if __name__ == "__main__":
    main()
