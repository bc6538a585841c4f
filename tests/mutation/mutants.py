"""Small wrong changes of a module, one at a time, made in its syntax tree.

Left alone are annotations, decorators, docstrings and imports, and what is there for the type checker only.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass

SWAPS: dict[type, type] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
}
SKIPPED = {"returns", "annotation", "decorator_list", "type_params", "bases", "format_spec"}
Option = tuple[str, ast.AST]  # what is wrong then, and the node to be put in the place


@dataclass(frozen=True)
class Mutant:
    """One change of a module."""

    module: str
    index: int
    place: str  # the function that it is in; empty: what is done when the module is loaded
    line: int
    text: str  # of that line
    what: str


def find(module: str, source: str, enums: dict[str, list[str]]) -> list[Mutant]:
    """All mutants of a module, in the order of its lines."""
    finder = _Mutator(enums)
    finder.visit(ast.parse(source))
    lines = source.splitlines()
    return [
        Mutant(module, index, place, line, lines[line - 1].strip(), what)
        for index, (place, line, what) in enumerate(finder.found)
    ]


def mutate(source: str, mutant: Mutant, enums: dict[str, list[str]]) -> ast.Module:
    """The module with that one change."""
    tree = _Mutator(enums, mutant.index).visit(ast.parse(source))
    return ast.fix_missing_locations(tree)


def enums_of(source: str) -> dict[str, list[str]]:
    """The names of the members of each enumeration in a module."""
    return {
        node.name: [
            target.id
            for line in node.body
            if isinstance(line, ast.Assign)
            for target in line.targets
            if isinstance(target, ast.Name)
        ]
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef) and any(isinstance(b, ast.Name) and "Enum" in b.id for b in node.bases)
    }


class _Mutator(ast.NodeTransformer):
    """Counts the changes that could be made; makes the one that is wanted."""

    def __init__(self, enums: dict[str, list[str]], wanted: int = -1) -> None:
        self.found: list[tuple[str, int, str]] = []
        self._enums = enums
        self._wanted = wanted
        self._classes: list[str] = []
        self._place = ""
        self._line = 1

    def visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            return node  # what documents a constant
        self._line = getattr(node, "lineno", self._line)
        chosen = None
        for what, other in self._options(node):
            if len(self.found) == self._wanted:
                chosen = other
            self.found.append((self._place, self._line, what))
        if chosen is not None:
            return ast.copy_location(chosen, node)
        if isinstance(node, ast.ClassDef):
            self._classes.append(node.name)
        for name, value in ast.iter_fields(node):
            if name not in SKIPPED and not (isinstance(node, ast.JoinedStr) and name == "values"):
                self._visit_field(node, name, value)
        if isinstance(node, ast.ClassDef):
            self._classes.pop()
        return node

    def _visit_field(self, node: ast.AST, name: str, value: object) -> None:
        outermost = isinstance(node, ast.FunctionDef) and name == "body" and not self._place
        if outermost:
            self._place = ".".join([*self._classes, node.name])
        if isinstance(value, list):
            first = 1 if name == "body" and _has_docstring(node) else 0
            value[first:] = [self.visit(item) if isinstance(item, ast.AST) else item for item in value[first:]]
        elif isinstance(value, ast.AST):
            setattr(node, name, self.visit(value))
        if outermost:
            self._place = ""

    def _options(self, node: ast.AST) -> Iterator[Option]:
        yield from _operators(node)
        yield from _values(node)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in self._enums:
            members = self._enums[node.value.id]
            if node.attr in members:
                other = members[(members.index(node.attr) + 1) % len(members)]
                yield f"{node.attr} is {other}", _with(node, attr=other)
        if self._place:
            yield from _calls_and_branches(node)
            yield from _statements(node)


def _has_docstring(node: ast.AST) -> bool:
    return isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None


def _with(node: ast.AST, **fields: object) -> ast.AST:
    other = deepcopy(node)
    for name, value in fields.items():
        setattr(other, name, value)
    return other


def _without(items: list[ast.AST], place: int) -> list[ast.AST]:
    return [*items[:place], *items[place + 1 :]]


def _operators(node: ast.AST) -> Iterator[Option]:
    match node:
        case ast.Compare(ops=[op]) if type(op) in SWAPS:
            yield f"{type(op).__name__} is {SWAPS[type(op)].__name__}", _with(node, ops=[SWAPS[type(op)]()])
        case ast.BoolOp(op=op, values=values):
            yield f"{type(op).__name__} is {SWAPS[type(op)].__name__}", _with(node, op=SWAPS[type(op)]())
            for place, value in enumerate(values):
                left = _without(values, place)
                yield f"without {ast.unparse(value)}", left[0] if len(left) == 1 else _with(node, values=left)
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield "without its sign", operand


def _values(node: ast.AST) -> Iterator[Option]:
    match node:
        case ast.Constant(value=bool(value)):
            yield f"{value} is {not value}", ast.Constant(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield f"{value} is {value + 1}", ast.Constant(value + 1)
        case ast.Constant(value=str(value)):
            yield f"{value!r} is another text", ast.Constant("" if value else "mutated")
        case ast.JoinedStr():
            yield "no text", ast.Constant("")
        case ast.IfExp(body=body, orelse=orelse):
            yield "the other way round", _with(node, body=orelse, orelse=body)
        case ast.comprehension(ifs=ifs):
            for place, test in enumerate(ifs):
                yield f"without if {ast.unparse(test)}", _with(node, ifs=_without(ifs, place))


def _calls_and_branches(node: ast.AST) -> Iterator[Option]:
    match node:
        case ast.BinOp(op=op) | ast.AugAssign(op=op) if type(op) in SWAPS:
            yield f"{type(op).__name__} is {SWAPS[type(op)].__name__}", _with(node, op=SWAPS[type(op)]())
        case ast.Call(func=func, keywords=keywords) if ast.unparse(func) not in {"field", "dataclass"}:
            for place, keyword in enumerate(keywords):
                yield f"without {ast.unparse(keyword)}", _with(node, keywords=_without(keywords, place))
        case ast.If(test=test):
            yield f"if {ast.unparse(test)} always", _with(node, test=ast.Constant(value=True))
            yield f"if {ast.unparse(test)} never", _with(node, test=ast.Constant(value=False))
        case ast.match_case(guard=ast.AST() as guard):
            yield f"without if {ast.unparse(guard)}", _with(node, guard=None)


def _statements(node: ast.AST) -> Iterator[Option]:
    match node:
        case ast.Return(value=ast.AST() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield "return None", ast.Return(ast.Constant(None))
        case ast.Expr(value=ast.Call(func=ast.Name(id="assert_never"))):
            pass
        case ast.Expr() | ast.Raise() | ast.AugAssign() | ast.Delete():
            yield f"without {ast.unparse(node)}", ast.Pass()
        case ast.Assign(targets=targets) if any(not isinstance(target, ast.Name) for target in targets):
            yield f"without {ast.unparse(node)}", ast.Pass()
        case ast.Continue():
            yield "break", ast.Break()
        case ast.Break():
            yield "continue", ast.Continue()
