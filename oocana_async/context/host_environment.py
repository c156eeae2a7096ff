"""What a scriptlet learns about its host from environment variables (protocol.md 2.2, 8.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypedDict

__all__ = ["HostEnvironment", "HostInfo", "OOMOL_LLM_ENV"]


class OOMOL_LLM_ENV(TypedDict):  # noqa: N801 - the official SDK's name
    """Where language models are reached, and with which key."""

    base_url: str
    base_url_v1: str
    api_key: str
    models: list[str]


class HostInfo(TypedDict):
    """Hardware of the host."""

    gpu_vendor: str
    gpu_renderer: str


class HostEnvironment:
    """Typed view of the `OOMOL_*` variables.

    Args:
        variables: the environment.
        warn: called once for each variable that is wanted but empty.
    """

    def __init__(self, variables: Mapping[str, str], warn: Callable[[str], object]) -> None:
        self._variables = variables
        self._warn = warn
        self._warned: set[str] = set()

    def _wanted(self, name: str) -> str:
        value = self._variables.get(name, "")
        if not value and name not in self._warned:
            self._warned.add(name)
            self._warn(f"environment variable {name} is empty; it is set by the OOMOL host")
        return value

    @property
    def fusion_api_url(self) -> str:
        """`OOMOL_FUSION_API_URL`, empty when unset."""
        return self._wanted("OOMOL_FUSION_API_URL")

    @property
    def llm(self) -> OOMOL_LLM_ENV:
        """`OOMOL_LLM_*`; `models` is a comma list there, and may be empty without a warning."""
        models = self._variables.get("OOMOL_LLM_MODELS", "")
        return {
            "base_url": self._wanted("OOMOL_LLM_BASE_URL"),
            "base_url_v1": self._wanted("OOMOL_LLM_BASE_URL_V1"),
            "api_key": self._wanted("OOMOL_LLM_API_KEY"),
            "models": models.split(","),
        }

    @property
    def host_info(self) -> HostInfo:
        """`OOMOL_HOST_GPU_*`, "unknown" when unset."""
        return {
            "gpu_vendor": self._variables.get("OOMOL_HOST_GPU_VENDOR", "unknown"),
            "gpu_renderer": self._variables.get("OOMOL_HOST_GPU_RENDERER", "unknown"),
        }

    @property
    def host_endpoint(self) -> str | None:
        """`OO_HOST_ENDPOINT`, None when unset."""
        return self._variables.get("OO_HOST_ENDPOINT")

    @property
    def token(self) -> str:
        """`OOMOL_TOKEN`, empty when unset."""
        return self._wanted("OOMOL_TOKEN")
