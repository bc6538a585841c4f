"""What a task's function is called with: the results of its dependencies, by the names of its parameters.

A parameter gets the result of the dependency of its name, where a hyphen counts as an underscore; `**kwargs` gets all
results that no other parameter takes, under the names of their tasks as they are. What is asked of the function costs
nothing where it takes nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import FunctionType, MethodType
from typing import Any, TypeVar

R = TypeVar("R")


_Parameters = tuple[tuple[str, ...], tuple[str, ...], bool, Mapping[str, Any]]
"""What a function takes: parameters by position only, those that may be passed by name, whether **kwargs, defaults."""


class MissingParameter(TypeError):
    """A parameter without a default that no dependency fills. The text names the task and the fix."""


def takes_nothing(function: Callable[..., Any]) -> bool:
    """Whether it certainly has no parameter at all that a result could go to: nothing has to be found out then."""
    if type(function) is not FunctionType or _has_another_signature(function):
        return False
    code = function.__code__
    return not (code.co_argcount or code.co_kwonlyargcount or code.co_flags & inspect.CO_VARKEYWORDS)


def arguments(
    function: Callable[..., Any],
    task: str,
    results: Mapping[str, R],
    missing: Mapping[str, str],
    read: Callable[[R], Any],
) -> tuple[list[Any], dict[str, Any]]:
    """The positional and the named arguments for `function`, the function of `task`.

    `results` are those of dependencies that completed, by task name; `read` is called for each one that is passed.
    `missing` says for the other dependencies how they ended. A function that does not say what it takes gets nothing.
    Raises `MissingParameter`.
    """
    takes = _parameters_of(function)
    if takes is None:
        return [], {}
    positional_only, named, everything, _ = takes
    found = [name for name in named if name in results]
    if len(found) < len(named) or positional_only:
        return _fitted(takes, task, results, missing, read)
    # So it is with most functions: each parameter has a task of its very name.
    return [], {name: read(results[name]) for name in (results if everything else found)}


def _fitted(
    takes: _Parameters, task: str, results: Mapping[str, R], missing: Mapping[str, str], read: Callable[[R], Any]
) -> tuple[list[Any], dict[str, Any]]:
    """The same, whatever it takes."""
    positional_only, named, everything, defaults = takes
    left, respelled = dict(results), _respelled(results)
    positional = []
    for name in positional_only:
        source = name if name in left else respelled.get(name)
        if source is not None:
            positional.append(read(left.pop(source)))
        elif name in defaults:
            positional.append(defaults[name])  # one that follows can only be passed behind it
        else:
            raise _missing(name, task, missing)
    keywords = {}
    for name in named:
        source = name if name in left else respelled.get(name)
        if source is not None:
            keywords[name] = read(left.pop(source))
        elif name not in defaults:
            raise _missing(name, task, missing)
    if everything:
        for source, result in left.items():
            keywords[source] = read(result)
    return positional, keywords


def _respelled(names: Mapping[str, Any]) -> dict[str, str]:
    """Tasks with hyphens in their names, by the parameter that each goes to: of "a-b" and "a_b" the second is a_b."""
    found: dict[str, str] = {}
    for name in names:
        if "-" in name and (spelled := name.replace("-", "_")) not in names:
            found.setdefault(spelled, name)
    return found


def _parameters_of(function: Callable[..., Any]) -> _Parameters | None:
    """What it takes; None where it tells nobody, as some functions in C."""
    inner, bound = (function.__func__, 1) if type(function) is MethodType else (function, 0)
    if type(inner) is FunctionType and not _has_another_signature(inner):
        return _of_code(inner, bound)
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    return (
        tuple(each.name for each in parameters if each.kind is each.POSITIONAL_ONLY),
        tuple(each.name for each in parameters if each.kind in {each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY}),
        any(each.kind is each.VAR_KEYWORD for each in parameters),
        {each.name: each.default for each in parameters if each.default is not each.empty},
    )


def _of_code(function: FunctionType, bound: int) -> _Parameters:
    """The same as `inspect.signature`, which takes twenty times as long. The first `bound` are filled already."""
    code = function.__code__
    count, names = code.co_argcount, code.co_varnames
    defaults: dict[str, Any] = {}
    if function.__defaults__:
        defaults.update(zip(names[count - len(function.__defaults__) : count], function.__defaults__, strict=True))
    if function.__kwdefaults__:
        defaults.update(function.__kwdefaults__)
    return (
        names[bound : code.co_posonlyargcount],
        names[max(bound, code.co_posonlyargcount) : count + code.co_kwonlyargcount],
        bool(code.co_flags & inspect.CO_VARKEYWORDS),
        defaults,
    )


def _has_another_signature(function: FunctionType) -> bool:
    # It is not looked into its `__dict__`, which most functions do not have until somebody asks for it.
    return hasattr(function, "__wrapped__") or hasattr(function, "__signature__")


def _missing(name: str, task: str, missing: Mapping[str, str]) -> MissingParameter:
    for dependency, phase in missing.items():
        if name in {dependency, dependency.replace("-", "_")}:
            fix = f"the task '{dependency}' ended as {phase} and has no result: give the parameter a default"
            break
    else:
        fix = "depend on a task of that name, or give the parameter a default"
    return MissingParameter(f"the function of task '{task}' needs the parameter '{name}': {fix}")
