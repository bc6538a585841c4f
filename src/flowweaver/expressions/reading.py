"""What an expression reads: which names, which tasks, which fields of them. Looks at the tree alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from flowweaver.expressions.syntax import Call, Collection, Constant, Field, Loop, Name, Node, Tree

OWN_NAMES = frozenset(
    {"bool", "bytes", "double", "int", "list", "map", "null_type", "optional", "string", "strings", "type", "uint"}
)
"""Names that the language itself has, as in `type(x) == string` and `optional.of(x)`."""


@dataclass(frozen=True, slots=True)
class Read:
    """A name from the scope and the path that is followed from it, as far as it is written out.

    `tasks["a-b"].result[0]` reads `("a-b", "result", 0)` from `tasks`. `dynamic` says that an index follows that only
    the run can know; `tested` that the last step is only asked for by `has(…)` or taken with `.?`.
    """

    root: str
    steps: tuple[str | int, ...]
    offset: int
    dynamic: bool = False
    tested: bool = False


def reads(tree: Tree) -> list[Read]:
    """Everything that it reads from its scope, in the order of the tree."""
    return list(_reads(tree, tree.root, frozenset()))


def plain_path(tree: Tree) -> Read | None:
    """What it reads where it is a path and nothing else, such as `tasks.a.result.rows[0]`."""
    read = _path(tree, tree.root, frozenset())
    return None if read is None or read.dynamic or read.tested else read


def _reads(tree: Tree, node: Node, bound: frozenset[str]) -> Iterator[Read]:
    read = _path(tree, node, bound)
    if read is not None:
        yield read
    yield from _below(tree, node, bound, inside_path=read is not None)


def _below(tree: Tree, node: Node, bound: frozenset[str], *, inside_path: bool) -> Iterator[Read]:
    """What the node's parts read; of a path only what stands in its brackets."""
    match node:
        case Field(operand=operand):
            yield from _below_path(tree, operand, bound, inside_path=inside_path)
        case Call(function="_[_]" | "_?._" | "_[?_]", arguments=(operand, key)):
            yield from _below_path(tree, operand, bound, inside_path=inside_path)
            yield from _reads(tree, key, bound)
        case Call(target=target, arguments=arguments):
            for part in (*([target] if target is not None else []), *arguments):
                yield from _reads(tree, part, bound)
        case Collection(items=items):
            for item in items:
                yield from _reads(tree, item, bound)
        case Loop():
            inner = bound | {*node.variables, node.accumulator}
            yield from _reads(tree, node.items, bound)
            yield from _reads(tree, node.start, bound)
            for part in (node.condition, node.step, node.result):
                yield from _reads(tree, part, inner)
        case Constant() | Name():
            return


def _below_path(tree: Tree, operand: Node, bound: frozenset[str], *, inside_path: bool) -> Iterator[Read]:
    if inside_path:
        yield from _below(tree, operand, bound, inside_path=True)
    else:
        yield from _reads(tree, operand, bound)


def _path(tree: Tree, node: Node, bound: frozenset[str]) -> Read | None:
    match node:
        case Name(name=name) if name not in bound and name not in OWN_NAMES:
            return Read(name, (), tree.position(node))
        case Field(operand=operand, name=name, tested=tested):
            return _follow(_path(tree, operand, bound), name, tested=tested)
        case Call(function="_[_]" | "_?._" | "_[?_]" as function, arguments=(operand, key)):
            step = key.value if isinstance(key, Constant) else None
            return _follow(_path(tree, operand, bound), step, tested=function != "_[_]")
    return None


def _follow(read: Read | None, step: str | int | None, *, tested: bool) -> Read | None:
    if read is None or read.dynamic or read.tested:
        return read
    if step is None:
        return Read(read.root, read.steps, read.offset, dynamic=True)
    return Read(read.root, (*read.steps, step), read.offset, tested=tested)
