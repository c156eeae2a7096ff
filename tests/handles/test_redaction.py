"""Secrets are hidden in texts and in JSON, however they are written there."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oocana_async.handles import Redactor


def redactor(*secrets: object) -> Redactor:
    made = Redactor()
    for secret in secrets:
        made.add(secret)
    return made


def test_secret_is_replaced_wherever_it_stands() -> None:
    assert redactor("hunter2").redact("pw=hunter2, again hunter2") == "pw=***, again ***"


def test_longest_secret_is_replaced_first() -> None:
    assert redactor("pass", "password").redact("password pass") == "*** ***"


@pytest.mark.parametrize("secret", ["", "abc", None, 12345, " ab "])
def test_short_or_foreign_secrets_hide_nothing(secret: Any) -> None:
    made = redactor(secret)
    assert made.redact("abc 12345") == "abc 12345"
    assert made.redact_json(b'["abc", 12345]') == b'["abc", 12345]'


def test_without_secrets_the_same_objects_come_back() -> None:
    text, payload = "x" * 10, b'{"a":1}'
    assert Redactor().redact(text) is text
    assert Redactor().redact_json(payload) is payload


FORMS = [
    pytest.param(json.dumps, id="JSON"),
    pytest.param(lambda text: json.dumps(text, ensure_ascii=False), id="JSON beyond ASCII"),
    pytest.param(repr, id="repr"),
    pytest.param(lambda text: quote(text, safe=""), id="URL"),
    pytest.param(quote_plus, id="form"),
    pytest.param(html.escape, id="HTML attribute"),
    pytest.param(lambda text: html.escape(text, quote=False), id="HTML text"),
]


@pytest.mark.parametrize("write", FORMS)
def test_secret_is_found_in_the_form_in_which_others_write_it(write: Callable[[str], str]) -> None:
    secret = "\tp\"ä's& <x> \n"
    assert redactor(secret).redact(f"[{write(secret).strip(chr(34) + chr(39))}]") == "[***]"


def test_secret_is_found_without_the_white_space_around_it() -> None:
    assert redactor(" key7\n").redact("[key7]") == "[***]"


def test_secret_of_several_lines_is_hidden_line_by_line() -> None:
    made = redactor("-----BEGIN KEY-----\nMIIEvQIBADANBg\n-----END KEY-----")
    assert made.redact("line: MIIEvQIBADANBg") == "line: ***"


def test_secret_that_looks_like_the_form_of_another_is_hidden_in_its_own_forms() -> None:
    assert redactor("a b&c", "a%20b%26c").redact("a%2520b%2526c") == "***"


def test_json_stays_json() -> None:
    made = redactor("1234", "nabc")
    document = {"number": 1234, "text": "1234", "trap": "\nabc", "1234": True}
    redacted = made.redact_json(json.dumps(document).encode())
    assert json.loads(redacted) == {"number": 1234, "text": "***", "trap": "\nabc", "***": True}


def test_json_without_the_secret_is_the_same() -> None:
    payload = b'{"a": "x\\n", "b": 1.50}'
    assert redactor("hunter2").redact_json(payload) == payload


@pytest.mark.parametrize("payload", [rb'{"a":"\u0068unter2"}', rb'{"\u0068unter2":"a"}', rb'["{\"a\":\"hunter2\"}"]'])
def test_secret_is_found_behind_the_escapes_of_json(payload: bytes) -> None:
    redacted = redactor("hunter2").redact_json(payload)
    assert b"unter2" not in redacted
    json.loads(redacted)


def test_secret_is_found_in_json_within_json() -> None:
    secret = 'hun"ter2'
    payload = json.dumps({"log": json.dumps({"password": secret})}).encode()
    assert json.loads(json.loads(redactor(secret).redact_json(payload))["log"]) == {"password": "***"}


_values = st.recursive(
    st.text(max_size=30) | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


def texts_of(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case list():
            for item in value:
                yield from texts_of(item)
        case dict():
            for key, item in value.items():
                yield key
                yield from texts_of(item)


@given(st.text(min_size=4, max_size=12).filter(lambda secret: "*" not in secret), _values)
def test_no_text_of_redacted_json_holds_the_secret(secret: str, value: Any) -> None:
    redacted = json.loads(redactor(secret).redact_json(json.dumps([value, secret]).encode()))
    assert redacted[1] == "***"
    assert not [text for text in texts_of(redacted) if secret in text]
