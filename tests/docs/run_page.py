"""Runs the blocks of one page in order, in the folder where it is started: `run_page.py PAGE`.

It is a program of its own, so that the blocks are the main module, with its threads, processes and signals.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import faulthandler
import inspect
import io
import os
import sys
import types
from pathlib import Path

from tests.docs.blocks import BLOCKS, Block, matches, run_commands


def main(page: str) -> None:
    faulthandler.dump_traceback_later(100, exit=True)  # what hangs says where
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - an entry of the path is a text
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module  # what the blocks define is there, as in a script
    blocks = [block for block in BLOCKS if block.page == page]
    for block, below in zip(blocks, [*blocks[1:], None], strict=True):
        said = run(block, module)
        if below is not None and below.kind == "text output":
            assert matches(said, below.text.strip("\n")), f"{block} prints\n{said}\nand the page says\n{below.text}"


def run(block: Block, module: types.ModuleType) -> str:
    """Do what a block says; gives what it prints."""
    if block.file:
        Path(block.file).write_text(block.text, encoding="utf-8")
    elif block.kind == "console":
        run_commands(block.text, Path.cwd())
    elif block.kind == "python":
        return run_python(block, module)
    return ""


def run_python(block: Block, module: types.ModuleType) -> str:
    source = "\n" * block.line + block.text  # a traceback names the line of the page
    code = compile(source, block.page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            if code.co_flags & inspect.CO_COROUTINE:  # with await outside of functions, as in a notebook
                asyncio.run(eval(code, module.__dict__))
            else:
                exec(code, module.__dict__)
    except BaseException:
        sys.stderr.write(said.getvalue())
        raise
    return said.getvalue()


if __name__ == "__main__":
    main(sys.argv[1])
