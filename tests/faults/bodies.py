"""Shell tasks that note each time that they run, and end when they are told to."""

from __future__ import annotations

from pathlib import Path


class Bodies:
    """Each task waits at a gate of its own."""

    def __init__(self, folder: Path) -> None:
        self.log, self._folder = folder / "ran", folder

    def task(self, name: str, *depends_on: str, prints: str = "true") -> dict[str, object]:
        """A task that prints its result when its gate is open."""
        script = f"echo {name} >> {self.log}; until test -e {self._gate(name)}; do sleep 0.05; done; {prints}"
        return {"name": name, "dependsOn": list(depends_on), "shell": {"script": script}}

    def go(self, *names: str) -> None:
        """Open the gates of these."""
        for name in names:
            self._gate(name).touch()

    def ran(self) -> list[str]:
        """The tasks whose bodies were started, in order."""
        return self.log.read_text().split() if self.log.exists() else []

    def _gate(self, name: str) -> Path:
        return self._folder / f"go-{name}"
