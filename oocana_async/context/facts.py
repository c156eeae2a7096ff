"""What a block can know: its job, its handles, its directories, its host."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from oocana_async.context.awaitables import Reply
from oocana_async.context.host_environment import OOMOL_LLM_ENV, HostEnvironment, HostInfo
from oocana_async.context.members import ContextCore, ContextParts, own_copy

__all__ = ["FactMembers", "KeepAlive"]

R = TypeVar("R")


class KeepAlive:
    """What `main` returns to say that `finish` will be called later; equal only to itself."""

    def __repr__(self) -> str:
        return "context.keepAlive"


KEEP_ALIVE = KeepAlive()


class FactMembers(ContextCore[R]):
    """Properties of a Context."""

    def __init__(self, parts: ContextParts) -> None:
        super().__init__(parts)
        self._surroundings = parts.surroundings
        self._logger: logging.Logger | None = None
        # Copies for the block, made when it first asks: most blocks never do.
        self._inputs_def: Mapping[str, Any] | None = None
        self._outputs_def: Mapping[str, Any] | None = None
        self._host = HostEnvironment(parts.surroundings.variables, parts.messenger.warn)

    @property
    def inputs(self) -> dict[str, Any]:
        """Inputs by handle, with references, secrets and files resolved."""
        return self._parts.inputs

    @property
    def inputs_def(self) -> Mapping[str, Any]:
        """Definition of each input handle as a plain dict of the block's own; empty when it declares none."""
        found = self._inputs_def
        if found is None:
            found = self._inputs_def = own_copy(self._parts.inputs_def)
        return found

    @property
    def outputs_def(self) -> Mapping[str, Any]:
        """Definition of each output handle as a plain dict of the block's own; empty when it declares none.

        What the block does with it changes nothing about how its outputs travel.
        """
        found = self._outputs_def
        if found is None:
            found = self._outputs_def = own_copy(self._parts.outputs_def)
        return found

    @property
    def job_info(self) -> dict[str, str]:
        """`session_id` and `job_id`."""
        return {"session_id": self.session_id, "job_id": self.job_id}

    @property
    def stacks(self) -> list[dict[str, str]]:
        """Path of flow frames `{flow_job_id, flow, node_id}` from the root; empty for a block that is run directly."""
        frames = self._messenger.identity.stacks
        return [{"flow_job_id": one.flow_job_id, "flow": one.flow, "node_id": one.node_id} for one in frames]

    @property
    def block_path(self) -> str | None:
        """The task file, None for scriptlets and services."""
        return self._messenger.identity.block_path

    @property
    def block_info(self) -> dict[str, Any]:
        """`session_id`, `job_id`, `stacks` and, when known, `block_path`."""
        info: dict[str, Any] = {**self.job_info, "stacks": self.stacks}
        return info if self.block_path is None else {**info, "block_path": self.block_path}

    @property
    def node_id(self) -> str:
        """Node of the innermost flow frame, "none" for a block that is run directly."""
        frames = self._messenger.identity.stacks
        return frames[-1].node_id if frames else "none"

    @property
    def session_dir(self) -> str:
        """Temporary directory that all blocks of the session share."""
        return self._surroundings.session_dir

    @property
    def tmp_dir(self) -> str:
        """Temporary directory of the flow."""
        return self._surroundings.tmp_dir

    @property
    def package_name(self) -> str:
        """Name of the package that the block belongs to, "workspace" outside packages."""
        return self._surroundings.package_name

    @property
    def tmp_pkg_dir(self) -> str:
        """Temporary directory of the package within the flow's."""
        return f"{self.tmp_dir}/{self.package_name}"

    @property
    def pkg_data_dir(self) -> str:
        """Persistent data directory of the package."""
        return self._surroundings.pkg_data_dir

    @property
    def pkg_dir(self) -> str:
        """The same as `pkg_data_dir`; kept for older scriptlets."""
        return self._surroundings.pkg_data_dir

    @property
    def keepAlive(self) -> KeepAlive:  # noqa: N802 - the official SDK's name
        """Return it from `main` when `finish` will be called later, for instance by a thread."""
        return KEEP_ALIVE

    @property
    def logger(self) -> logging.Logger:
        """A logger whose lines reach the block's log: up to INFO as stdout, from WARNING on as stderr."""
        if self._logger is None:
            self._logger = _make_logger(f"oocana.block.{self.node_id}", self._messenger.log)
        return self._logger

    @property
    def is_cancelled(self) -> bool:
        """Whether the job was cancelled: its flow ended, it ran into its time-out, or the session is over."""
        return self._messenger.is_cancelled

    def check_cancelled(self) -> None:
        """Raise when the job was cancelled; call it in long loops of synchronous blocks.

        Raises:
            JobCancelledError: It was.
        """
        self._messenger.check_cancelled()

    @property
    def oomol_fusion_api_url(self) -> str:
        """Base URL of the fusion API, empty when unset."""
        return self._host.fusion_api_url

    @property
    def oomol_llm_env(self) -> OOMOL_LLM_ENV:
        """`base_url`, `base_url_v1`, `api_key` and `models` of the language models of the host."""
        return self._host.llm

    @property
    def host_info(self) -> HostInfo:
        """`gpu_vendor` and `gpu_renderer`, "unknown" when unset."""
        return self._host.host_info

    @property
    def host_endpoint(self) -> str | None:
        """Address of the host, None when unset."""
        return self._host.host_endpoint

    def oomol_token(self) -> Reply[str]:
        """Return the user's token as something to await; empty when unset."""
        return Reply.of(self._host.token)


def _make_logger(name: str, write: Callable[[str, str], object]) -> logging.Logger:
    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            write(self.format(record), "stderr" if record.levelno >= logging.WARNING else "stdout")

    logger = logging.Logger(name, logging.DEBUG)  # noqa: LOG001 - not registered: it belongs to one job only
    logger.addHandler(Handler())
    return logger
