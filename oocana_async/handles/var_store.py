"""Keeps the objects of `oomol/var` outputs, so that a reference can travel instead of them (protocol.md 5.2)."""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass
from typing import Any

from oocana_async.errors import HandleError
from oocana_async.handles.definitions import VarValueDict
from oocana_async.handles.keyword_records import MISSING, keep

__all__ = ["EXECUTOR_NAME", "StoreKey", "VarStore", "wrap_var"]

EXECUTOR_NAME = "python"
"""The language of this executor, as references name it."""


@dataclass(frozen=True, init=False)
class StoreKey:
    """Names one output of one job; keywords that do not belong to it change nothing about that.

    Attributes:
        executor: language of the executor that holds the object.
        handle: the output handle.
        job_id: the job that made the object.
        session_id: the session of that job.

    Raises:
        ValueError: One of these is missing.
    """

    executor: str
    handle: str
    job_id: str
    session_id: str

    def __init__(
        self,
        executor: str = MISSING,
        handle: str = MISSING,
        job_id: str = MISSING,
        session_id: str = MISSING,
        **unknown: Any,
    ) -> None:
        named = {"executor": executor, "handle": handle, "job_id": job_id, "session_id": session_id}
        keep(self, named, unknown)


def wrap_var(reference: dict[str, Any], *, serialize_path: str | None = None) -> VarValueDict:
    """Wrap a reference the way it travels."""
    return {"__OOMOL_TYPE__": "oomol/var", "value": reference, "serialize_path": serialize_path}


class VarStore:
    """Holds objects by reference; safe to use from any thread. Each scope of a session has a store, which ends with it.

    What is taken out is the very object that was put in. A second, different object of the same handle and job gets
    a reference of its own (`serial`), so that a slow consumer does not find the later object under the earlier
    reference. Nothing is dropped before: any number of consumers may still hold a reference.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._objects: dict[tuple[StoreKey, int], Any] = {}
        self._serials: dict[StoreKey, int] = {}  # of the latest object of each key

    def put(self, key: StoreKey, value: Any) -> dict[str, Any]:
        """Keep an object and return the reference that finds it.

        Args:
            key: names the output; the first object of a key has no `serial`.
            value: the object; None counts as one.

        Returns:
            The `value` of the wrapper of protocol.md 5.2.
        """
        with self._lock:
            serial = self._serials.get(key, 0)
            if serial == 0 or self._objects[key, serial] is not value:
                serial += 1
                self._serials[key] = serial
                self._objects[key, serial] = value
        reference = asdict(key)
        return reference if serial == 1 else {**reference, "serial": serial}

    def keep(self, reference: dict[str, Any], value: Any) -> None:
        """Keep an object under a reference made elsewhere, such as a frame read from the cache."""
        key = StoreKey(**reference)
        with self._lock:
            serial = _serial_of(reference)
            self._objects[key, serial] = value
            self._serials[key] = max(serial, self._serials.get(key, 0))

    def get(self, reference: dict[str, Any], *, handle: str = "") -> Any:
        """Give the object of a reference.

        Args:
            reference: the `value` of a wrapper.
            handle: the input handle that wants the object, for the error.

        Raises:
            HandleError: No such object is held here; the text names handle, type and producer.
        """
        key = StoreKey(**reference)
        with self._lock:
            found = self._objects.get((key, _serial_of(reference)), _MISSING)
        if found is _MISSING:
            raise HandleError(_not_here(key, handle), handle=handle)
        return found

    def __len__(self) -> int:
        return len(self._objects)


_MISSING = object()


def _serial_of(reference: dict[str, Any]) -> int:
    serial = reference.get("serial", 1)
    return serial if isinstance(serial, int) else 1


def _not_here(key: StoreKey, handle: str) -> str:
    return (
        f"input handle [{handle}]: the oomol/var object of output handle [{key.handle}] of job {key.job_id}"
        f" (session {key.session_id}) is not in this process; references cannot leave the process that made them:"
        " let both blocks run in the same executor (no spawn, same package), or send the data as JSON or oomol/bin"
    )
