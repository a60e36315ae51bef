"""Which keys a settings class knows, for messages about the others."""

import types
import typing
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel


def fields_at(kind: Any, path: tuple[Any, ...]) -> list[str]:
    """The keys that settings class `kind` knows at `path` (a location in pydantic's words)."""
    origin = get_origin(kind)
    if origin is Annotated:
        return fields_at(get_args(kind)[0], path)
    if origin in (types.UnionType, typing.Union):
        bare = [get_args(b)[0] if get_origin(b) is Annotated else b for b in get_args(kind)]
        branches = [b for b in bare if isinstance(b, type) and issubclass(b, BaseModel)]
        chosen = [
            b for b in branches if path and any(path[0] in get_args(f.annotation) for f in b.model_fields.values())
        ]
        return fields_at(chosen[0], path[1:]) if chosen else [f for b in branches for f in fields_at(b, path)]
    if origin is dict:
        return fields_at(get_args(kind)[1], path[1:]) if path else []
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        if not path:
            return list(kind.model_fields)
        return fields_at(kind.model_fields[path[0]].annotation, path[1:]) if path[0] in kind.model_fields else []
    return []
