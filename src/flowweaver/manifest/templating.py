"""Which texts of a manifest are templates: found in the models, where the fields are marked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from flowweaver.manifest.fields import Templated


def templated(model: type[BaseModel], value: Any, path: str) -> Iterator[tuple[str, Any, Templated]]:
    """Every field at or below `value`, which should look like `model`, that may hold expressions: path, value, mark.

    What does not look like it is passed over: that is for others to find.
    """
    if not isinstance(value, Mapping):
        return
    for name, (annotation, mark) in _fields(model).items():
        if name in value:
            yield from _below(annotation, mark, value[name], f"{path}.{name}" if path else name)


@cache
def _fields(model: type[BaseModel]) -> dict[str, tuple[Any, Templated | None]]:
    return {
        field.alias or name: (field.annotation, _mark(field.metadata)) for name, field in model.model_fields.items()
    }


def _mark(metadata: Any) -> Templated | None:
    return next((item for item in metadata if isinstance(item, Templated)), None)


def _below(annotation: Any, mark: Templated | None, value: Any, path: str) -> Iterator[tuple[str, Any, Templated]]:
    if mark is not None:
        yield path, value, mark
        return
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from templated(annotation, value, path)
        return
    if hasattr(annotation, "__metadata__"):
        yield from _below(annotation.__origin__, _mark(annotation.__metadata__), value, path)
        return
    if get_origin(annotation) is list:
        if isinstance(value, (list, tuple)):
            for index, item in enumerate(value):
                yield from _below(get_args(annotation)[0], None, item, f"{path}[{index}]")
        return
    for part in get_args(annotation):
        yield from _below(part, None, value, path)
