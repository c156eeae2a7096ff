"""How a Context is made: of the parts that an executor gives, around a mainframe, or for the desk."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any, TypeVar, overload

from msgspec import UNSET

from oocana_async.context.facts import FactMembers
from oocana_async.context.members import ContextParts
from oocana_async.context.outputs import OutputMembers
from oocana_async.context.questions import QuestionMembers
from oocana_async.context.reports import ReportMembers

if TYPE_CHECKING:
    from oocana_async.context.by_hand.adapter import MainframeLike
    from oocana_async.context.by_hand.job import BlockInfoLike, StoreLike

__all__ = ["AllMembers"]

R = TypeVar("R")
_NOT_GIVEN: Any = UNSET  # None is an argument like others, and where it is wrong the error says so


class AllMembers(FactMembers[R], OutputMembers[R], ReportMembers[R], QuestionMembers[R]):
    """All members of both kinds of Context, and their constructor."""

    @overload
    def __init__(self, inputs: ContextParts, /) -> None: ...

    @overload
    def __init__(
        self,
        inputs: Mapping[str, Any] | None,
        blockInfo: BlockInfoLike | Mapping[str, Any],  # noqa: N803 - the official SDK's name
        mainframe: MainframeLike,
        store: StoreLike | None,
        outputs: Mapping[str, Any] | None,
        session_dir: str | PathLike[str],
    ) -> None: ...

    @overload
    def __init__(
        self,
        *,
        inputs: Mapping[str, Any] | None = ...,
        blockInfo: BlockInfoLike | Mapping[str, Any],  # noqa: N803
        mainframe: MainframeLike,
        store: StoreLike | None = ...,
        inputs_def: Mapping[str, Any] | None = ...,
        outputs_def: Mapping[str, Any] | None = ...,
        session_dir: str | PathLike[str],
        tmp_dir: str | PathLike[str] | None = ...,
        package_name: str | None = ...,
        pkg_dir: str | None = ...,
    ) -> None: ...

    @overload
    def __init__(
        self,
        *,
        inputs: Mapping[str, Any] | None = ...,
        inputs_def: Mapping[str, Any] | None = ...,
        outputs_def: Mapping[str, Any] | None = ...,
        session_dir: str | PathLike[str] | None = ...,
        tmp_dir: str | PathLike[str] | None = ...,
    ) -> None: ...

    def __init__(
        self,
        inputs: ContextParts | Mapping[str, Any] | None = _NOT_GIVEN,
        blockInfo: Any = _NOT_GIVEN,  # noqa: N803
        mainframe: Any = _NOT_GIVEN,
        store: Any = _NOT_GIVEN,
        outputs: Mapping[str, Any] | None = _NOT_GIVEN,
        session_dir: str | PathLike[str] | None = _NOT_GIVEN,
        *,
        inputs_def: Mapping[str, Any] | None = _NOT_GIVEN,
        outputs_def: Mapping[str, Any] | None = _NOT_GIVEN,
        tmp_dir: str | PathLike[str] | None = _NOT_GIVEN,
        package_name: str | None = _NOT_GIVEN,
        pkg_dir: str | None = _NOT_GIVEN,
    ) -> None:
        if isinstance(inputs, ContextParts):
            super().__init__(inputs)
            return
        from oocana_async.context.by_hand import parts_by_hand  # late: executors never need it

        arguments = {
            "inputs": inputs,
            "blockInfo": blockInfo,
            "mainframe": mainframe,
            "store": store,
            "outputs": outputs,
            "session_dir": session_dir,
            "inputs_def": inputs_def,
            "outputs_def": outputs_def,
            "tmp_dir": tmp_dir,
            "package_name": package_name,
            "pkg_dir": pkg_dir,
        }
        super().__init__(parts_by_hand(arguments))
