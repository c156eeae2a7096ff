"""Describes handles and their schemas, under the names of the official SDK (protocol.md 8.1, 8.4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeAlias, TypedDict, TypeGuard

import msgspec

__all__ = [
    "ArrayFieldSchema",
    "BinValueDict",
    "ContentMediaType",
    "FieldSchema",
    "HandleDef",
    "HandleDefDict",
    "InputHandleDef",
    "ObjectFieldSchema",
    "OutputHandleDef",
    "PrimitiveFieldSchema",
    "SecretFieldSchema",
    "VarFieldSchema",
    "VarValueDict",
    "definition_of",
    "is_array_dict",
    "is_bin_value",
    "is_object_dict",
    "is_primitive_dict",
    "is_secret_dict",
    "is_var_dict",
    "is_var_value",
    "media_type_of",
]

ContentMediaType: TypeAlias = Literal["oomol/bin", "oomol/secret", "oomol/var", "oomol/credential"]
"""What a handle carries besides plain JSON."""

TYPE_KEY = "__OOMOL_TYPE__"
"""The key that marks a wrapped value (protocol.md 5.1)."""

_PRIMITIVES = ("string", "number", "integer", "boolean", "null")


class BinValueDict(TypedDict):
    """Wrapper of bytes that travel through a file (protocol.md 5.3)."""

    __OOMOL_TYPE__: Literal["oomol/bin"]
    value: str


class VarValueDict(TypedDict):
    """Wrapper of a reference to an object in a process (protocol.md 5.2)."""

    __OOMOL_TYPE__: Literal["oomol/var"]
    value: dict[str, Any]
    serialize_path: str | None


class _HandleName(TypedDict):
    handle: str


class HandleDefDict(_HandleName, total=False):
    """A handle definition as it travels (protocol.md 3.0)."""

    description: str | None
    json_schema: dict[str, Any] | None
    kind: str | None
    nullable: bool
    value: Any
    is_additional: bool


def is_bin_value(value: Any) -> TypeGuard[BinValueDict]:
    """Say whether a value is the wrapper of bytes in a file."""
    return isinstance(value, dict) and value.get(TYPE_KEY) == "oomol/bin"


def is_var_value(value: Any) -> TypeGuard[VarValueDict]:
    """Say whether a value is the wrapper of a reference."""
    return isinstance(value, dict) and value.get(TYPE_KEY) == "oomol/var"


def is_array_dict(schema: Any) -> bool:
    """Say whether a schema describes an array."""
    return isinstance(schema, Mapping) and schema.get("type") == "array"


def is_object_dict(schema: Any) -> bool:
    """Say whether a schema describes an object."""
    return isinstance(schema, Mapping) and schema.get("type") == "object"


def is_var_dict(schema: Any) -> bool:
    """Say whether a schema describes a reference."""
    return isinstance(schema, Mapping) and schema.get("contentMediaType") == "oomol/var"


def is_secret_dict(schema: Any) -> bool:
    """Say whether a schema describes a secret text."""
    return (
        isinstance(schema, Mapping)
        and schema.get("contentMediaType") == "oomol/secret"
        and schema.get("type") == "string"
    )


def is_primitive_dict(schema: Any) -> bool:
    """Say whether a schema describes a plain text, number, truth value or null."""
    return isinstance(schema, Mapping) and schema.get("type") in _PRIMITIVES and schema.get("contentMediaType") is None


def media_type_of(definition: Any) -> str | None:
    """Give the `contentMediaType` of a handle definition as it travels, None if it has none."""
    # Each output passes here, and asking an abstract class costs more than all the rest: hence the exact types first.
    if type(definition) is not dict and not isinstance(definition, Mapping):
        return None
    schema = definition.get("json_schema")
    if schema is None or (type(schema) is not dict and not isinstance(schema, Mapping)):
        return None
    media_type = schema.get("contentMediaType")
    return media_type if isinstance(media_type, str) else None


def definition_of(handle: str, media_type: ContentMediaType | None = None) -> dict[str, Any]:
    """Return the shortest definition of a handle, as definitions travel."""
    if media_type is None:
        return {"handle": handle}
    return {"handle": handle, "json_schema": {"contentMediaType": media_type}}


class FieldSchema(msgspec.Struct, frozen=True):
    """The part of a JSON schema that matters for handles: what kind of value, and how it travels."""

    contentMediaType: str | None = None  # noqa: N815 - JSON schema's own word

    @staticmethod
    def generate_schema(schema: Any) -> FieldSchema:
        """Make the schema object that fits a JSON schema.

        Args:
            schema: a JSON schema as a dict; anything else gives a schema that says nothing.
        """
        if not isinstance(schema, Mapping):
            return FieldSchema()
        for fits, make in _SCHEMAS:
            if fits(schema):
                return make(schema)
        return FieldSchema(schema.get("contentMediaType"))


class PrimitiveFieldSchema(FieldSchema, frozen=True):
    """A plain text, number, truth value or null."""

    type: str = "string"


class VarFieldSchema(FieldSchema, frozen=True):
    """A reference to an object in a process."""

    contentMediaType: str | None = "oomol/var"  # noqa: N815


class SecretFieldSchema(FieldSchema, frozen=True):
    """A text that names a secret."""

    contentMediaType: str | None = "oomol/secret"  # noqa: N815
    type: str = "string"


class ArrayFieldSchema(FieldSchema, frozen=True):
    """A list; `items` describes each member."""

    type: str = "array"
    items: FieldSchema | None = None


class ObjectFieldSchema(FieldSchema, frozen=True):
    """An object; `properties` describes its members."""

    type: str = "object"
    properties: Mapping[str, FieldSchema] | None = None


def _array(schema: Mapping[str, Any]) -> FieldSchema:
    items = schema.get("items")
    return ArrayFieldSchema(items=FieldSchema.generate_schema(items) if items is not None else None)


def _object(schema: Mapping[str, Any]) -> FieldSchema:
    found = schema.get("properties")
    if not isinstance(found, Mapping):
        return ObjectFieldSchema()
    return ObjectFieldSchema(properties={name: FieldSchema.generate_schema(item) for name, item in found.items()})


_SCHEMAS = (
    (is_var_dict, lambda _schema: VarFieldSchema()),
    (is_secret_dict, lambda _schema: SecretFieldSchema()),
    (is_array_dict, _array),
    (is_object_dict, _object),
    (is_primitive_dict, lambda schema: PrimitiveFieldSchema(type=schema["type"])),
)


class HandleDef:
    """The definition of a handle; every key is an attribute, `.get`, `[...]` and `in` work as on a dict.

    Raises:
        ValueError: There is no `handle`.
    """

    handle: str
    description: str | None = None
    json_schema: FieldSchema | None = None
    kind: str | None = None
    nullable: bool | None = None
    is_additional: bool = False

    def __init__(self, **kwargs: Any) -> None:
        if "handle" not in kwargs:
            raise ValueError("missing attr key: 'handle'")
        schema = kwargs.get("json_schema")
        self._schema = schema
        self._keys = tuple(kwargs)
        for key, value in kwargs.items():
            setattr(self, key, value)
        if schema is not None and not isinstance(schema, FieldSchema):
            self.json_schema = FieldSchema.generate_schema(schema)

    def json_schema_to_dict(self) -> Any:
        """Return the schema as it was given."""
        return self._schema

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key, or `default` if the definition lacks it."""
        return getattr(self, key) if key in self else default

    def __getitem__(self, key: str) -> Any:
        if key not in self:
            raise KeyError(key)
        return getattr(self, key)

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{key}={getattr(self, key)!r}' for key in self._keys)})"

    def check_handle_type(self, type: ContentMediaType) -> bool:  # noqa: A002 - the official SDK's name
        """Say whether the handle's `contentMediaType` is this one."""
        return self.json_schema is not None and self.json_schema.contentMediaType == type

    def is_var_handle(self) -> bool:
        """Say whether values travel as references."""
        return self.check_handle_type("oomol/var")

    def is_bin_handle(self) -> bool:
        """Say whether values are bytes that travel through files."""
        return self.check_handle_type("oomol/bin")

    def is_secret_handle(self) -> bool:
        """Say whether values name secrets."""
        return self.check_handle_type("oomol/secret")

    def is_credential_handle(self) -> bool:
        """Say whether values name credentials."""
        return self.check_handle_type("oomol/credential")

    def is_additional_handle(self) -> bool:
        """Say whether the flow's author added the handle to the block."""
        return bool(self.is_additional)


class InputHandleDef(HandleDef):
    """The definition of an input; `value` is there only if the manifest gives one, null included."""

    value: Any = None
    _deserialize_from_cache: bool = False

    def has_value(self) -> bool:
        """Say whether the manifest gives a value, null included."""
        return "value" in self

    def is_serializable_var(self) -> bool:
        """Say whether a reference may be read from the cache of an earlier run (protocol.md 5.6)."""
        return self.is_var_handle() and bool(self._deserialize_from_cache)


class OutputHandleDef(HandleDef):
    """The definition of an output."""

    _serialize_for_cache: bool = False

    def need_serialize_var_for_cache(self) -> bool:
        """Say whether a data frame shall be kept for the next run (protocol.md 5.6)."""
        return self.is_var_handle() and bool(self._serialize_for_cache)
