"""Members that send values and end the block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from msgspec import ValidationError, convert

from oocana_async.context.members import ContextCore, ContextParts
from oocana_async.context.messenger import raw_map
from oocana_async.wire.encoding import MAX_DEPTH, require_depth
from oocana_async.wire.messages import encode_message
from oocana_async.wire.messages.session import BlockOutput, BlockOutputs
from oocana_async.wire.messages.shared import NULL, OutputOptions, OutputTarget, RawMap, TargetFlow, TargetNode

__all__ = ["OutputMembers"]

R = TypeVar("R")


class OutputMembers(ContextCore[R]):
    """`output`, `outputs`, `finish` and `done`."""

    def __init__(self, parts: ContextParts) -> None:
        super().__init__(parts)
        self._encoder = parts.encoder
        self._declared = parts.declared
        self._heads: dict[str, bytes] = {}

    def output(
        self,
        key: str,
        value: Any,
        done: bool = False,
        *,
        to_node: Sequence[Mapping[str, str]] | None = None,
        to_flow: Sequence[Mapping[str, str]] | None = None,
    ) -> R:
        """Send a value on an output handle.

        The value is encoded now; on `oomol/var` handles it travels by reference, on `oomol/bin` handles as a file.

        Args:
            key: the handle; an undeclared one is warned about and nothing is sent.
            value: any value that JSON or the handle's type can carry.
            done: also finish the block.
            to_node: send to these node inputs `{node_id, input_handle}` only.
            to_flow: send to these flow outputs `{output_handle}` only. With either list given, connections that are
                in neither get nothing.

        Raises:
            EncodingError: The value cannot travel; nothing was sent.
            PacketTooLargeError: It is larger than any transport can carry; nothing was sent.
            ValueError: A target has another form than these.
        """
        if not self._messenger.is_running:
            self._messenger.late("output")
            return self._sent()
        head = self._heads.get(key) or self._head(key)
        if head:
            tail = b"}" if to_node is None and to_flow is None else _target_tail(to_node, to_flow)
            if done:
                tail = b',"done":true' + tail  # engines look at BlockFinished; readers of the older form look here
            data = self._encoder(key, value)
            if data is not None:
                self._messenger.emit(b"".join((head, data, tail)), "output")
        if done:
            self.done()
        return self._sent()

    def outputs(self, outputs: Mapping[str, Any]) -> R:
        """Send values on several output handles as one message.

        Args:
            outputs: handle to value; undeclared handles are warned about and left out.

        Raises:
            EncodingError: A value cannot travel; nothing was sent.
            ValueError: It is no dict.
        """
        if self._may_send("outputs"):
            if not isinstance(outputs, Mapping):
                raise ValueError(f"outputs should be a dict, but got {type(outputs)}")
            values = self._encode_all(outputs)
            self._messenger.emit(encode_message(BlockOutputs(self.session_id, self.job_id, values)), "outputs")
        return self._sent()

    def finish(self, *, result: Mapping[str, Any] | None = None, error: str | None = None) -> R:
        """End the block; an error wins over a result. Only the first end counts, a further one is warned about.

        Args:
            result: values of output handles; undeclared ones are warned about and left out.
            error: text that says why the block failed.

        Raises:
            ValueError: `result` is no dict.
            EncodingError: A value cannot travel; the block goes on.
        """
        messenger = self._messenger
        values: RawMap | None = None
        if messenger.is_running and error is None and result is not None:
            if not isinstance(result, Mapping):
                raise ValueError(f"result should be a dict, but got {type(result)}")
            values = self._encode_all(result)
        if not messenger.finish(result=values, error=None if error is None else str(error)):
            messenger.warn("done has been called multiple times and will be ignored.")
        return self._sent()

    def done(self, error: str | None = None) -> R:
        """End the block without a result; the older name of `finish`."""
        return self.finish(error=error)

    def _head(self, key: str) -> bytes:
        """Return the BlockOutput of a handle up to its value, which makes each output a concatenation.

        It is empty, after a warning, when the handle is not declared.
        """
        if key not in self._declared:
            self._warn_undeclared(key)
            return b""
        whole = encode_message(BlockOutput(self.session_id, self.job_id, key, NULL))
        self._heads[key] = whole.removesuffix(b"null}")
        return self._heads[key]

    def _encode_all(self, values: Mapping[str, Any]) -> RawMap:
        known: dict[str, bytes] = {}
        for key, value in values.items():
            if key not in self._declared:
                self._warn_undeclared(key)
                continue
            data = self._encoder(key, value)
            if data is not None:
                require_depth(data, MAX_DEPTH - 1, f"output handle [{key}]")  # one more level around than in output()
                known[key] = data
        return raw_map(known)

    def _warn_undeclared(self, key: str) -> None:
        self._messenger.warn(f"Output handle key: [{key}] is not defined in Block outputs schema.")


def _target_tail(to_node: Sequence[Mapping[str, str]] | None, to_flow: Sequence[Mapping[str, str]] | None) -> bytes:
    try:
        nodes = None if to_node is None else convert(list(to_node), list[TargetNode])
        flows = None if to_flow is None else convert(list(to_flow), list[TargetFlow])
    except (ValidationError, TypeError) as error:
        raise ValueError(
            "to_node takes a list of {node_id, input_handle}, to_flow a list of {output_handle}; "
            f"got to_node={to_node!r}, to_flow={to_flow!r}"
        ) from error
    return b',"options":' + encode_message(OutputOptions(OutputTarget(nodes, flows))) + b"}"
