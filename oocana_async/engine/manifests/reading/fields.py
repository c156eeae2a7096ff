"""Access to the keys of one mapping, with the right type or a recorded fault."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeVar

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from oocana_async.engine.manifests.yaml import NULLS, Document, describe, is_blank
from oocana_async.suggestions import ask_for, nearest, suggest

T = TypeVar("T")

_DECORATION: Final = frozenset({"title", "icon", "ui", "name", "type", "description", "version", "author", "keywords"})
"""Keys that editors write and nobody reads: never taken for a typo."""

_UNTAGGED: Final = frozenset({"?", "!"})
"""Tags of scalars, plain and quoted, without a tag of their own; no list or mapping has them."""

_INT32: Final = range(-(2**31), 2**31)
_UINT64: Final = range(2**64)


class Keys:
    """The keys that a kind of mapping understands.

    Attributes:
        known: all of them, in the order in which messages name them.
        ignored: further keys that are legal here, have no effect, and are no typos.
    """

    __slots__ = ("known", "legal", "names")

    def __init__(self, *known: str, ignored: Iterable[str] = ()) -> None:
        self.known = known
        self.names = frozenset(known)
        self.legal = self.names | _DECORATION | frozenset(ignored)


class Fields:
    """One mapping while it is read.

    Attributes:
        node: the mapping's node, for its place.
        strict: whether text must be text; otherwise a plain scalar counts as the text that was written
            (flow-format.md 1.2).
    """

    __slots__ = ("_keys", "_values", "doc", "node", "strict")

    def __init__(self, doc: Document, node: MappingNode, keys: Keys, *, strict: bool = True) -> None:
        self.doc = doc
        self.node = node
        self.strict = strict
        self._keys = keys
        self._values: dict[str, Node] = {}
        values, names = self._values, keys.names
        for key_node, value in node.value:
            # Nearly every key takes the short way, which matters in files of thousands of nodes.
            if key_node.tag in _UNTAGGED and key_node.value in names and key_node.value not in values:
                values[key_node.value] = value
            else:
                self._add(key_node, value)

    def _add(self, key_node: Node, value: Node) -> None:
        doc = self.doc
        key = doc.key(key_node) if self.strict else _loose_text(key_node)
        if key not in self._keys.names:
            if key not in self._keys.legal:
                self._warn_typo(key_node, key)
            if self.strict:
                doc.json(value)
            self._values.setdefault(key, value)
        elif key in self._values:
            doc.fault(key_node, f'the key "{key}" is given twice, expected once')
        else:
            self._values[key] = value

    def _warn_typo(self, node: Node, key: str) -> None:
        near = nearest(key, self._keys.known, 0.8)
        if near is not None:
            self.doc.warn(node, "unknown-key", f'the key "{key}" has no meaning here', ask_for(near))

    def strictly(self) -> Fields:
        """Return the same mapping, read strictly from here on."""
        copy = object.__new__(Fields)
        copy.doc, copy.node, copy.strict = self.doc, self.node, True
        copy._keys, copy._values = self._keys, self._values
        return copy

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def unknown(self) -> list[str]:
        """Return the keys that have no meaning here."""
        return [key for key in self._values if key not in self._keys.names]

    def get(self, key: str) -> Node | None:
        """Return the value of a key, None when the key is absent."""
        return self._values.get(key)

    def option(self, key: str) -> Node | None:
        """Return the value of a key, None when the key is absent, blank or null."""
        node = self._values.get(key)
        return None if node is None or (node.tag == "?" and node.value in NULLS) else node

    def _is_null(self, node: ScalarNode) -> bool:
        return node.tag == "?" and node.value in NULLS

    def require(self, key: str) -> Node | None:
        """Return the value of a key that must be there; None, and a fault, when it is absent."""
        node = self._values.get(key)
        if node is None:
            near = nearest(key, tuple(self.unknown()))
            hint = f'is "{near}" meant to be "{key}"?' if near else ""
            self.doc.fault(self.node, f'the key "{key}" is missing', hint)
        return node

    def wrong(self, key: str, node: Node, expected: str, hint: str = "") -> None:
        """Record that a key has a value of the wrong type."""
        self.doc.fault(node, f'"{key}" must be {expected}, found {describe(node)}', hint)

    def text(self, key: str) -> str:
        """Return the text of a required key, empty after a fault."""
        node = self.require(key)
        return "" if node is None else self.as_text(key, node) or ""

    def optional_text(self, key: str) -> str | None:
        """Return the text of a key that may be absent or null."""
        node = self.option(key)
        return None if node is None else self.as_text(key, node)

    def as_text(self, key: str, node: Node) -> str | None:
        """Return a value as text, None after a fault."""
        if isinstance(node, ScalarNode):
            if not self.strict or node.tag == "!":
                return str(node.value)
            value = self.doc.scalar(node)
            if isinstance(value, str):
                return value
            self.wrong(key, node, "text", f'write it in quotes: "{node.value}"' if not is_blank(node) else "")
            return None
        self.wrong(key, node, "text")
        return None

    def flag(self, key: str) -> bool:
        """Return a boolean that is false when absent."""
        node = self._values.get(key)
        if node is None:
            return False
        value = self.optional_flag(key)
        if value is None and self._is_scalar_null(node):
            self.wrong(key, node, "true or false")
        return bool(value)

    def _is_scalar_null(self, node: Node) -> bool:
        return isinstance(node, ScalarNode) and self._is_null(node)

    def optional_flag(self, key: str) -> bool | None:
        """Return a boolean that may be absent or null."""
        node = self.option(key)
        if node is None:
            return None
        value = self.doc.scalar(node) if isinstance(node, ScalarNode) else None
        if isinstance(value, bool):
            return value
        self.wrong(key, node, "true or false", suggest(str(node.value), ("true", "false")) if _is_text(node) else "")
        return None

    def int32(self, key: str, default: int) -> int:
        """Return a 32-bit integer; null is not one."""
        node = self._values.get(key)
        return default if node is None else self._integer(key, node, _INT32, "an integer", default)

    def seconds(self, key: str) -> int | None:
        """Return a non-negative integer that may be absent or null."""
        node = self.option(key)
        return None if node is None else self._integer(key, node, _UINT64, "an integer of at least 0", 0)

    def _integer(self, key: str, node: Node, allowed: range, expected: str, default: int) -> int:
        value = self.doc.scalar(node) if isinstance(node, ScalarNode) else None
        if isinstance(value, int) and not isinstance(value, bool) and value in allowed:
            return value
        self.wrong(key, node, expected)
        return default

    def number(self, key: str, default: float) -> float:
        """Return a number; null is not one."""
        node = self._values.get(key)
        if node is None:
            return default
        value = self.doc.scalar(node) if isinstance(node, ScalarNode) else None
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        self.wrong(key, node, "a number")
        return default

    def mapping(self, key: str, node: Node, keys: Keys) -> Fields | None:
        """Return the fields of a value that must be a mapping, None after a fault."""
        if isinstance(node, MappingNode):
            self.doc.untagged(node)
            return Fields(self.doc, node, keys, strict=self.strict)
        self.wrong(key, node, "a mapping")
        return None

    def items(self, key: str, node: Node | None) -> Iterator[Node]:
        """Yield the entries of a value that must be a list; nothing for None or after a fault."""
        if isinstance(node, SequenceNode):
            self.doc.untagged(node)
            yield from node.value
        elif node is not None:
            self.wrong(key, node, "a list")

    def each(self, key: str, keys: Keys, read: Callable[[Fields], T | None]) -> list[T] | None:
        """Read a list of mappings; None when the key is absent or null, entries with faults are left out."""
        node = self.option(key)
        if node is None:
            return None
        entries = (self.mapping(f"an entry of {key}", item, keys) for item in self.items(key, node))
        return [value for entry in entries if entry is not None and (value := read(entry)) is not None]

    def texts(self, key: str) -> list[str]:
        """Read a list of texts, empty when absent or null."""
        found = (self.as_text(f"an entry of {key}", item) for item in self.items(key, self.option(key)))
        return [text for text in found if text is not None]

    def text_map(self, key: str) -> dict[str, str]:
        """Read a mapping of texts, empty when absent or null."""
        node = self.option(key)
        if node is None:
            return {}
        if not isinstance(node, MappingNode):
            self.wrong(key, node, "a mapping")
            return {}
        pairs = ((self.as_text(f"a key of {key}", k), self.as_text(f"a value of {key}", v)) for k, v in node.value)
        return {name: value for name, value in pairs if name is not None and value is not None}

    def json(self, key: str) -> Any:
        """Return the JSON value of a key, None when absent."""
        node = self._values.get(key)
        return None if node is None else self.doc.json(node)


def _loose_text(node: Node) -> str:
    return node.value if isinstance(node, ScalarNode) else ""


def _is_text(node: Node) -> bool:
    return isinstance(node, ScalarNode)
