"""The YAML dialect of manifests: YAML 1.2 scalars, every value with its file, line and column (flow-format.md 1.2)."""

from __future__ import annotations

import operator
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from oocana_async.engine.manifests.findings import Finding
from oocana_async.errors import ManifestError

MAX_DEPTH: Final = 128
"""Levels of nesting that a value may have; what is deeper cannot travel as JSON either (protocol.md 3.0)."""

_MAX_EXPANSION: Final = 100
"""How many times more values than the file has nodes aliases may make of it."""

_PLAIN: Final = "?"
_QUOTED: Final = "!"
_TAG_PREFIX: Final = "tag:yaml.org,2002:"
NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
# Infinities and NaN are null, as in the reference.
_WORDS: Final[dict[str, Any]] = {
    **dict.fromkeys(NULLS),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(f"{sign}{word}" for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")),
    **dict.fromkeys((".nan", ".NaN", ".NAN")),
}
_RADIX: Final = re.compile(r"([+-]?)0(?:x([0-9a-fA-F]+)|o([0-7]+)|b([01]+))", re.ASCII)
_DECIMAL: Final = re.compile(r"[+-]?(?:0|[1-9][0-9]*)", re.ASCII)
_FLOAT: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_ZERO_DIGITS: Final = re.compile(r"[+-]?0[0-9]+", re.ASCII)
# The reference deletes both characters before it parses.
_SEPARATORS: Final = str.maketrans("", "", "\u2028\u2029")


class HugeIntegerError(ValueError):
    """A plain scalar is an integer outside -2^63 .. 2^64-1."""


@lru_cache(maxsize=8192)
def resolve_plain(text: str) -> Any:
    """Return the value of an unquoted scalar: None, a bool, an int, a float or the text itself.

    Raises:
        HugeIntegerError: The text is an integer that JSON numbers of the engine cannot hold.
    """
    # Not PyYAML's own resolver: that reads YAML 1.1, where `no` is false, `1:30` a number and `2024-01-01` a date.
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    integer = _integer(text)
    if integer is not None:
        return integer
    if _FLOAT.fullmatch(text) and not _ZERO_DIGITS.fullmatch(text):
        number = float(text)
        return number if abs(number) != float("inf") else text
    return text


def _integer(text: str) -> int | None:
    if _DECIMAL.fullmatch(text):
        value = int(text) if len(text) < 64 else 2**130
    elif match := _RADIX.fullmatch(text):
        sign, *digits = match.groups()
        value = next(int(part, base) for part, base in zip(digits, (16, 8, 2), strict=True) if part)
        value = -value if sign == "-" else value
    else:
        return None
    if -(2**63) <= value < 2**64:
        return value
    if -(2**127) <= value < 2**128:
        raise HugeIntegerError(text)
    return None


class _Resolution:
    """Tells the composer only whether a scalar was quoted; what it means is decided by who reads it."""

    def resolve(self, kind: type[Node], value: Any, implicit: Any) -> str:
        if kind is ScalarNode:
            return _PLAIN if implicit[0] else _QUOTED
        return ""

    # The composer calls both around each node, for resolvers that depend on paths. Ours does not: built-ins that do
    # nothing cost a third of what empty methods do, which shows in files of thousands of nodes.
    descend_resolver = staticmethod(operator.is_)
    ascend_resolver = staticmethod(bool)


try:
    from yaml._yaml import CParser

    class _Composer(_Resolution, CParser):
        pass

except ImportError:  # pragma: no cover - PyYAML was built without libyaml
    from yaml.composer import Composer
    from yaml.parser import Parser
    from yaml.reader import Reader
    from yaml.scanner import Scanner

    class _Composer(_Resolution, Reader, Scanner, Parser, Composer):  # type: ignore[no-redef]
        def __init__(self, stream: str) -> None:
            Reader.__init__(self, stream)
            Scanner.__init__(self)
            Parser.__init__(self)
            Composer.__init__(self)


def place_of(node: Node) -> tuple[int, int]:
    """Return the 1-based line and column where a node begins."""
    mark = node.start_mark
    return mark.line + 1, mark.column + 1


class Document:
    """One YAML file as nodes with marks, and what was found wrong while it was read.

    Attributes:
        path: the file.
        root: the outermost node, None for an empty file or one that is not YAML.
        faults: what makes the file unreadable, in the order in which it was found.
        warnings: what is ignored but hardly meant.
    """

    __slots__ = ("_budget", "faults", "path", "root", "warnings")

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.faults: list[ManifestError] = []
        self.warnings: list[Finding] = []
        self._budget = 1000 + _MAX_EXPANSION * len(text)
        self.root = self._compose(text.translate(_SEPARATORS))

    def _compose(self, text: str) -> Node | None:
        parser: Any = None
        try:
            parser = _Composer(text)
            return parser.get_single_node()  # type: ignore[no-any-return]
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            reason = _yaml_reason(error)
            spot = (mark.line + 1, mark.column + 1) if mark is not None else (None, None)
            self.faults.append(ManifestError(reason, path=self.path, line=spot[0], column=spot[1]))
        except yaml.YAMLError as error:
            self.faults.append(ManifestError(f"not YAML: {' '.join(str(error).split())}", path=self.path))
        finally:
            if parser is not None:
                parser.dispose()
        return None

    def fault(self, node: Node, reason: str, hint: str = "") -> None:
        """Record that the file is unreadable because of `node`."""
        line, column = place_of(node)
        self.faults.append(ManifestError(reason, path=self.path, line=line, column=column, hint=hint))

    def warn(self, node: Node, code: str, message: str, hint: str = "") -> None:
        """Record that something at `node` is ignored."""
        line, column = place_of(node)
        self.warnings.append(Finding("warning", code, self.path, line, column, message, hint))

    def scalar(self, node: ScalarNode) -> Any:
        """Return the JSON value of a scalar; a fault is recorded, and None returned, when it has none."""
        tag = node.tag
        if tag == _QUOTED:
            return node.value
        try:
            if tag == _PLAIN:
                return resolve_plain(node.value)
            return self._tagged(node)
        except HugeIntegerError:
            self.fault(
                node,
                f"the integer {node.value} does not fit into 64 bits, expected -2^63 to 2^64-1",
                "write it in quotes, as text",
            )
            return None

    def _tagged(self, node: ScalarNode) -> Any:
        if not node.tag.startswith(_TAG_PREFIX):
            self._custom_tag(node)
            return None
        wanted = node.tag.removeprefix(_TAG_PREFIX)
        if wanted not in _TAGGED:
            return node.value
        value = resolve_plain(node.value)
        if wanted == "float" and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if isinstance(value, _TAGGED[wanted]) and (wanted != "int" or not isinstance(value, bool)):
            return value
        self.fault(node, f'the tag "!!{wanted}" does not fit "{node.value}"')
        return None

    def _custom_tag(self, node: Node) -> None:
        self.fault(node, f'the tag "{node.tag}" is not known, expected no tag or a standard one such as "!!str"')

    def untagged(self, node: Node) -> None:
        """Record a fault when a list or mapping has a custom tag."""
        if node.tag and not node.tag.startswith(_TAG_PREFIX):
            self._custom_tag(node)

    def json(self, node: Node, depth: int = 0) -> Any:
        """Return the JSON value that a node stands for; of repeated keys the last one counts.

        Faults are recorded for custom tags, keys that are not text, integers beyond 64 bits, values that contain
        themselves or are nested too deeply, and aliases that multiply without measure.
        """
        if isinstance(node, ScalarNode):
            return self.scalar(node)
        self._budget -= 1
        if depth >= MAX_DEPTH or self._budget < 0:
            if self._budget > -(10**9):
                self._budget = -(10**9)
                self.fault(
                    node, f"the value is nested deeper than {MAX_DEPTH} levels, contains itself or repeats too often"
                )
            return None
        self.untagged(node)
        if isinstance(node, SequenceNode):
            return [self.json(item, depth + 1) for item in node.value]
        assert isinstance(node, MappingNode)
        return {self.key(key): self.json(value, depth + 1) for key, value in node.value}

    def key(self, node: Node) -> str:
        """Return a mapping key, which has to be text."""
        if isinstance(node, ScalarNode):
            if node.tag == _QUOTED:
                return str(node.value)
            value = self.scalar(node)
            if isinstance(value, str):
                return value
        self.fault(node, f"{describe(node)} cannot be a key, expected text", "write it in quotes")
        return ""


_TAGGED: Final[dict[str, type | tuple[type, ...]]] = {"int": int, "float": float, "bool": bool, "null": type(None)}


def is_blank(node: Node) -> bool:
    """Tell whether nothing is written where the value would stand."""
    return isinstance(node, ScalarNode) and node.tag == _PLAIN and node.value == ""


def describe(node: Node) -> str:
    """Return what a node is, for messages: `the integer 5`, `the text "x"`, `a list`, `nothing`."""
    if isinstance(node, SequenceNode):
        return "a list"
    if isinstance(node, MappingNode):
        return "a mapping"
    assert isinstance(node, ScalarNode)
    if is_blank(node):
        return "nothing"
    shown = node.value if len(node.value) <= 40 else f"{node.value[:37]}..."
    try:
        value = resolve_plain(node.value) if node.tag == _PLAIN else node.value
    except HugeIntegerError:
        return f"the integer {shown}"
    if value is None:
        return "null" if node.value in NULLS else f"the number {shown}"
    if isinstance(value, str):
        return f'the text "{shown}"'
    return f"the {_KINDS[type(value)]} {shown}"


_KINDS: Final = {bool: "boolean", int: "integer", float: "number"}


def _yaml_reason(error: yaml.MarkedYAMLError) -> str:
    if error.context == "expected a single document in the stream":
        return "a second document begins here, expected one document per file"
    parts = [part for part in (error.context, error.problem) if part]
    return f"not YAML: {', '.join(parts)}"


def read_document(path: Path) -> Document:
    """Read one file.

    Raises:
        OSError: The file cannot be read.
    """
    raw = path.read_bytes()
    try:
        return Document(path, raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - (raw.rfind(b"\n", 0, error.start) + 1) + 1
        document = Document(path, "")
        document.faults.append(
            ManifestError("not UTF-8 text", path=path, line=line, column=column, hint="save the file as UTF-8")
        )
        return document
