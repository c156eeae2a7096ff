"""Describes handles and their schemas, under the names of the official SDK (protocol.md 8.1, 8.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypedDict, TypeGuard

from oocana_async.handles.keyword_records import keep

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
    "wrapped_type",
]

ContentMediaType: TypeAlias = Literal["oomol/bin", "oomol/secret", "oomol/var", "oomol/credential"]
"""What a handle carries besides plain JSON."""

TYPE_KEY = "__OOMOL_TYPE__"
"""The key that marks a wrapped value (protocol.md 5.1)."""

_PRIMITIVES = ("string", "number", "boolean")


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


def wrapped_type(value: Any) -> Any:
    """Give what a wrapper says that it carries, whatever else is in it; None if the value is no wrapper."""
    return value.get(TYPE_KEY) if isinstance(value, dict) else None


def is_bin_value(d: Any) -> TypeGuard[BinValueDict]:
    """Say whether a value is the wrapper of bytes in a file."""
    return wrapped_type(d) == "oomol/bin" and isinstance(d.get("value"), str)


def is_var_value(d: Any) -> TypeGuard[VarValueDict]:
    """Say whether a value is the wrapper of a reference."""
    return wrapped_type(d) == "oomol/var" and isinstance(d.get("value"), dict)


def is_array_dict(dict: Any) -> bool:  # noqa: A002 - the official SDK's name
    """Say whether a schema describes an array."""
    return isinstance(dict, Mapping) and dict.get("type") == "array"


def is_object_dict(dict: Any) -> bool:  # noqa: A002 - the official SDK's name
    """Say whether a schema describes an object."""
    return isinstance(dict, Mapping) and dict.get("type") == "object"


def is_var_dict(dict: Any) -> bool:  # noqa: A002 - the official SDK's name
    """Say whether a schema describes a reference."""
    return isinstance(dict, Mapping) and dict.get("contentMediaType") == "oomol/var"


def is_secret_dict(dict: Any) -> bool:  # noqa: A002 - the official SDK's name
    """Say whether a schema describes a secret text."""
    return isinstance(dict, Mapping) and dict.get("contentMediaType") == "oomol/secret" and dict.get("type") == "string"


def is_primitive_dict(dict: Any) -> bool:  # noqa: A002 - the official SDK's name
    """Say whether a schema describes a plain text, number or truth value."""
    return isinstance(dict, Mapping) and dict.get("type") in _PRIMITIVES and dict.get("contentMediaType") is None


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


@dataclass(frozen=True, init=False)
class FieldSchema:
    """The part of a JSON schema that matters for handles: what kind of value, and how it travels.

    It is made of keywords; those that it does not know are attributes, too.
    """

    contentMediaType: str | None = None  # noqa: N815 - JSON schema's own word

    def __init__(self, **kwargs: Any) -> None:
        keep(self, {}, {key: self._read(key, value) for key, value in kwargs.items()})

    def _read(self, key: str, value: Any) -> Any:
        """Return a keyword as it is kept."""
        return value

    @staticmethod
    def generate_schema(dict: Any) -> FieldSchema:  # noqa: A002 - the official SDK's name
        """Make the schema object that fits a JSON schema.

        Args:
            dict: a JSON schema; anything that is no dict gives a schema that says nothing.
        """
        if not isinstance(dict, Mapping):
            return FieldSchema()
        for fits, kind in _SCHEMAS:
            if fits(dict):
                return kind(**{key: dict[key] for key in kind.__dataclass_fields__ if key in dict})
        return FieldSchema(contentMediaType=dict.get("contentMediaType"))


@dataclass(frozen=True, init=False)
class PrimitiveFieldSchema(FieldSchema):
    """A plain text, number or truth value."""

    type: str = "string"


@dataclass(frozen=True, init=False)
class VarFieldSchema(FieldSchema):
    """A reference to an object in a process."""

    contentMediaType: str | None = "oomol/var"  # noqa: N815


@dataclass(frozen=True, init=False)
class SecretFieldSchema(FieldSchema):
    """A text that names a secret."""

    contentMediaType: str | None = "oomol/secret"  # noqa: N815
    type: str = "string"


@dataclass(frozen=True, init=False)
class ArrayFieldSchema(FieldSchema):
    """A list; `items` describes each member."""

    type: str = "array"
    items: FieldSchema | None = None

    def _read(self, key: str, value: Any) -> Any:
        return _schema_of(value) if key == "items" else value


@dataclass(frozen=True, init=False)
class ObjectFieldSchema(FieldSchema):
    """An object; `properties` describes its members."""

    type: str = "object"
    properties: Mapping[str, FieldSchema] | None = None

    def _read(self, key: str, value: Any) -> Any:
        if key != "properties" or not isinstance(value, Mapping):
            return value
        return {name: FieldSchema() if item is None else _schema_of(item) for name, item in value.items()}


def _schema_of(schema: Any) -> Any:
    """Return the object of a schema that stands within another one."""
    return schema if schema is None or isinstance(schema, FieldSchema) else FieldSchema.generate_schema(schema)


_SCHEMAS: tuple[tuple[Callable[[Any], bool], type[FieldSchema]], ...] = (
    (is_var_dict, VarFieldSchema),
    (is_secret_dict, SecretFieldSchema),
    (is_array_dict, ArrayFieldSchema),
    (is_object_dict, ObjectFieldSchema),
    (is_primitive_dict, PrimitiveFieldSchema),
)


@dataclass(frozen=True, init=False)
class HandleDef:
    """The definition of a handle; every key is an attribute, `.get`, `[...]` and `in` work as on a dict.

    Raises:
        ValueError: There is no `handle`.
    """

    handle: str
    description: str | None = None
    json_schema: FieldSchema | None = None
    kind: str | None = None
    is_additional: bool | None = None

    def __init__(self, **kwargs: Any) -> None:
        if "handle" not in kwargs:
            raise ValueError("missing attr key: 'handle'")
        schema = kwargs.get("json_schema")
        read = {**kwargs, "json_schema": _schema_of(schema)} if "json_schema" in kwargs else kwargs
        keep(self, {}, {**read, "_schema": schema, "_keys": tuple(kwargs)})

    def json_schema_to_dict(self) -> Any:
        """Return the schema as it was given."""
        return vars(self)["_schema"]

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key, or `default` if a definition has no such key."""
        return getattr(self, key) if key in self else default

    def __getitem__(self, key: str) -> Any:
        if key not in self:
            raise KeyError(f"{key!r} not found")
        return getattr(self, key)

    def __contains__(self, key: object) -> bool:
        return key in type(self).__dataclass_fields__ or key in self._given()

    def __iter__(self) -> Iterator[str]:
        return iter(self._given())

    def _given(self) -> tuple[str, ...]:
        """Return the keys that this definition was made of."""
        keys: tuple[str, ...] = vars(self)["_keys"]
        return keys

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


@dataclass(frozen=True, init=False)
class InputHandleDef(HandleDef):
    """The definition of an input; `value` is there only if the manifest gives one, null included."""

    value: Any = None
    nullable: bool | None = None
    _deserialize_from_cache: bool | None = field(default=None, repr=False, compare=False)

    def has_value(self) -> bool:
        """Say whether the manifest gives a value, null included."""
        return "value" in self._given()

    def is_serializable_var(self) -> bool:
        """Say whether a reference may be read from the cache of an earlier run (protocol.md 5.6)."""
        return self.is_var_handle() and bool(self._deserialize_from_cache)


@dataclass(frozen=True, init=False)
class OutputHandleDef(HandleDef):
    """The definition of an output."""

    _serialize_for_cache: bool | None = None

    def need_serialize_var_for_cache(self) -> bool:
        """Say whether a data frame shall be kept for the next run (protocol.md 5.6)."""
        return self.is_var_handle() and bool(self._serialize_for_cache)
