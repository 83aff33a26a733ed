"""JSON Schemas (draft 2020-12, as OpenAPI 3.1 has them) of our msgspec types, for the description of the API.

msgspec's own generator refuses unions of untagged structs, which the specification's `details` is.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

Schema = dict[str, Any]

_SCALARS: dict[Any, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    Any: {},
    msgspec.Raw: {"type": "object"},
}
_PREFIX = "#/components/schemas/"


class Components:
    """The schemas that others refer to, by name."""

    def __init__(self) -> None:
        self.schemas: dict[str, Schema] = {}

    def reference(self, of: Any) -> Schema:
        """A schema of the type `of`; structs and enumerations as references. Raises `TypeError` for one that is unknown."""
        if of in _SCALARS:
            return dict(_SCALARS[of])
        origin, arguments = get_origin(of), get_args(of)
        if origin is not None:
            return self._generic(origin, arguments, of)
        if isinstance(of, type) and issubclass(of, Enum):
            return self._named(of, lambda: {"type": "string", "enum": [one.value for one in of]})
        if isinstance(of, type) and issubclass(of, msgspec.Struct):
            return self._named(of, lambda: self._struct(of))
        raise TypeError(f"no schema for {of}")

    def add_pydantic(self, schema: Schema) -> Schema:
        """Takes the definitions of a schema that pydantic made with our references, and gives the rest."""
        rest = dict(schema)
        self.schemas.update(rest.pop("$defs", {}))
        return rest

    def _generic(self, origin: Any, arguments: tuple[Any, ...], of: Any) -> Schema:
        if origin in {Union, types.UnionType}:
            return {"anyOf": [self.reference(one) for one in arguments]}
        if origin is Literal:
            return {"enum": list(arguments)}
        if origin is tuple:
            return self._tuple(arguments)
        if origin is dict:
            return {"type": "object", "additionalProperties": self.reference(arguments[1])}
        raise TypeError(f"no schema for {of}")

    def _tuple(self, arguments: tuple[Any, ...]) -> Schema:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return {"type": "array", "items": self.reference(arguments[0])}
        length = len(arguments)
        items = [self.reference(one) for one in arguments]
        return {"type": "array", "prefixItems": items, "minItems": length, "maxItems": length}

    def _named(self, of: type, make: Callable[[], Schema]) -> Schema:
        if of.__name__ not in self.schemas:
            self.schemas[of.__name__] = {}
            self.schemas[of.__name__] = make()
        return {"$ref": _PREFIX + of.__name__}

    def _struct(self, of: type[msgspec.Struct]) -> Schema:
        hints = get_type_hints(of)
        fields = msgspec.structs.fields(of)
        properties = {field.encode_name: self.reference(hints[field.name]) for field in fields}
        required = [field.encode_name for field in fields if field.required]
        config = of.__struct_config__
        if config.tag_field is not None:
            properties = {config.tag_field: {"const": config.tag}, **properties}
            required.insert(0, config.tag_field)
        return {"type": "object", "properties": properties, "required": required}
