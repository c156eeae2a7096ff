from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oocana_async.handles import Redactor


def redactor(*secrets: object) -> Redactor:
    made = Redactor()
    for secret in secrets:
        made.add(secret)
    return made


def test_secret_is_replaced_in_text_and_bytes() -> None:
    made = redactor("hunter2")
    assert made.redact("pw=hunter2, again hunter2") == "pw=***, again ***"
    assert made.redact(b"pw=hunter2") == b"pw=***"


def test_longest_secret_is_replaced_first() -> None:
    assert redactor("pass", "password").redact("password pass") == "*** ***"


@pytest.mark.parametrize("secret", ["", "abc", None, 12345])
def test_short_or_foreign_secrets_hide_nothing(secret: Any) -> None:
    made = redactor(secret)
    assert not made
    assert made.redact("abc 12345") == "abc 12345"


def test_without_secrets_the_same_objects_come_back() -> None:
    text, data = "x" * 10, {"a": [1]}
    made = Redactor()
    assert made.redact(text) is text
    assert made.redact_value(data) is data
    assert made.redact_json(b'{"a":1}') == b'{"a":1}'


def test_quoted_and_escaped_forms_are_found() -> None:
    secret = 'p"ä/s\nsecond line'
    made = redactor(secret)
    for form in (json.dumps(secret), json.dumps(secret, ensure_ascii=False), "p%22%C3%A4%2Fs%0Asecond%20line"):
        assert "***" in made.redact(form)
        assert "second" not in made.redact(form)


def test_secret_of_several_lines_is_hidden_line_by_line() -> None:
    made = redactor("-----BEGIN KEY-----\nMIIEvQIBADANBg\n-----END KEY-----")
    assert made.redact("line: MIIEvQIBADANBg") == "line: ***"


def test_plain_data_is_redacted_deeply_and_only_where_needed() -> None:
    made = redactor("hunter2")
    clean = {"k": [1, None, "x"]}
    data = {"a": ["hunter2", {"hunter2": ("is hunter2",)}], "n": 2, "clean": clean}
    assert made.redact_value(data) == {"a": ["***", {"***": ["is ***"]}], "n": 2, "clean": clean}
    assert made.redact_value(data)["clean"] is clean
    assert made.redact_value(clean) is clean


def test_json_stays_json() -> None:
    made = redactor("1234", "nabc")
    document = {"number": 1234, "text": "1234", "trap": "\nabc", "1234": True}
    redacted = made.redact_json(json.dumps(document).encode())
    assert json.loads(redacted) == {"number": 1234, "text": "***", "trap": "\nabc", "***": True}


def test_json_without_the_secret_is_the_same() -> None:
    payload = b'{"a": "x\\n", "b": 1.50}'
    assert redactor("hunter2").redact_json(payload) == payload


_texts = st.text(max_size=30)


@given(st.text(min_size=4, max_size=12), st.recursive(_texts | st.integers(), st.lists))
def test_redacted_json_is_the_redacted_value(secret: str, value: Any) -> None:
    made = redactor(secret)
    assert json.loads(made.redact_json(json.dumps([value, secret]).encode())) == made.redact_value([value, secret])
