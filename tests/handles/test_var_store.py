"""Objects by reference: the same object comes back, and nothing hides an earlier one."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from oocana_async.errors import HandleError
from oocana_async.handles import StoreKey, VarStore


def key(handle: str = "df", session_id: str = "S1", job_id: str = "J1") -> StoreKey:
    return StoreKey(executor="python", handle=handle, job_id=job_id, session_id=session_id)


def test_key_ignores_what_does_not_belong_to_it() -> None:
    extra: dict[str, Any] = {"executor": "python", "handle": "df", "job_id": "J1", "session_id": "S1", "more": 1}
    assert StoreKey(**extra) == key()
    assert hash(StoreKey(**extra)) == hash(key())
    with pytest.raises(ValueError, match="missing key handle"):
        StoreKey(executor="python")


def test_object_comes_back_itself() -> None:
    store, value = VarStore(), object()
    reference = store.put(key(), value)
    assert reference == {"executor": "python", "handle": "df", "job_id": "J1", "session_id": "S1"}
    assert store.get(reference) is value


def test_none_is_an_object() -> None:
    store = VarStore()
    assert store.get(store.put(key(), None)) is None


def test_later_object_does_not_hide_the_earlier_one() -> None:
    store = VarStore()
    first, second, third = [1], [2], [3]
    references = [store.put(key(), value) for value in (first, second, second, third)]
    assert [store.get(reference) for reference in references] == [first, second, second, third]
    assert references[1] == references[2]
    assert len(store) == 3


def test_missing_object_names_handle_type_and_producer() -> None:
    with pytest.raises(HandleError) as caught:
        VarStore().get({"executor": "python", "handle": "df", "job_id": "J7", "session_id": "S1"}, handle="table")
    for word in ("input handle [table]", "oomol/var", "output handle [df] of job J7", "session S1"):
        assert word in str(caught.value)
    assert caught.value.handle == "table"


def test_objects_of_two_sessions_do_not_meet() -> None:
    store = VarStore()
    references = [store.put(key(session_id=session), [session]) for session in ("S1", "S2")]
    assert [store.get(reference) for reference in references] == [["S1"], ["S2"]]


def test_object_kept_under_a_foreign_reference_is_found() -> None:
    store, value = VarStore(), [1]
    reference = {"executor": "python", "handle": "df", "job_id": "J1", "session_id": "S0"}
    store.keep(reference, value)
    assert store.get(reference) is value
    assert store.get(store.put(key(session_id="S0"), [2])) == [2]
    assert store.get(reference) is value


def test_threads_do_not_lose_objects() -> None:
    store = VarStore()
    found: list[bool] = []

    def work(number: int) -> None:
        values = [[number, index] for index in range(200)]
        references = [store.put(key(job_id=f"J{number % 2}"), value) for value in values]
        found.append(all(store.get(ref) is value for ref, value in zip(references, values, strict=True)))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 4
    assert len(store) == 800
