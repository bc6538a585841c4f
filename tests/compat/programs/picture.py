"""A picture of the workflow: as text, in a file, in a browser (which is only pretended here)."""

import contextlib
import webbrowser
from pathlib import Path

from flowweaver import SequentialExecutor, Task, Workflow
from flowweaver.utils import export_mermaid, save_mermaid, view_mermaid

opened = []
webbrowser.open = lambda url, *others: opened.append(url) or True

garden = Workflow(name="garden")
garden.add_task(Task("dig", lambda: 1))
garden.add_task(Task("sow", lambda: 1 / 0), depends_on=["dig"])
garden.add_task(Task("water", lambda: 1), depends_on=["sow"])
with contextlib.suppress(RuntimeError):
    SequentialExecutor().execute(garden)

drawn = export_mermaid(garden, orientation="LR")
for line in drawn.splitlines():
    if "-->" in line or line.startswith("graph") or line.strip().startswith("class "):
        print(line.strip())
with contextlib.redirect_stdout(None):  # what they say about it is not for this program's output
    save_mermaid(garden, "garden.md", orientation="LR")
    page = view_mermaid(garden, orientation="LR")
print(Path("garden.md").read_text() == drawn)
print(opened == [page.as_uri()], page.suffix, page.exists(), "sow --" in page.read_text())
page.unlink()
