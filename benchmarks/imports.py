"""How long a statement takes in a fresh interpreter, and what it loads.

- `python benchmarks/imports.py "import flowweaver"`
"""

from __future__ import annotations

import sys
import time

statement = compile(sys.argv[1], "<statement>", "exec")
before = set(sys.modules)
began = time.perf_counter()
exec(statement, {})
seconds = time.perf_counter() - began
loaded = sorted(set(sys.modules) - before)

import json  # noqa: E402 - not before the statement: it may need it too

heavy = [name for name in ("asyncio", "pydantic", "kubernetes", "kopf", "sqlite3", "apsw") if name in loaded]
print("RESULT " + json.dumps({"seconds": seconds, "modules": len(loaded), "heavy": heavy}))
