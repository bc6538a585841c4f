"""The command `flowweaver`: how people and scripts on a machine meet the engine.

One module a command. Nothing is imported before it is needed: a command that fails on its arguments must do so at once,
and `flowweaver run` must work where the operator's libraries are not installed. No command shows a traceback for what a
user can mend.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from flowweaver.errors import FlowWeaverError, ManifestError, UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments (default: the process's own) and give its exit status."""
    try:
        from flowweaver.cli.application import application

        application(arguments, prog_name=_called())
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else int(ending.code is not None)
    except ManifestError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return 2
    except FlowWeaverError as error:
        print(f"flowweaver: {error}", file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"typer", "rich"}:
            raise
        print(f"flowweaver: {error.name} is missing: pip install 'flowweaver-operator[cli]'", file=sys.stderr)
        return 2
    return 0


def _called() -> str:
    """How the usage line calls it: the same program is installed as a plugin of kubectl too."""
    return "kubectl flowweaver" if os.path.basename(sys.argv[0]) == "kubectl-flowweaver" else "flowweaver"  # noqa: PTH119 - pathlib takes longer than the rest
