"""Addresses of brokers, and when to try again."""

from __future__ import annotations

import pytest

from oocana_async.transport.mqtt.address import Broker
from oocana_async.transport.mqtt.backoff import Backoff


@pytest.mark.parametrize(
    ("address", "broker"),
    [
        ("127.0.0.1:47688", Broker("127.0.0.1", 47688)),
        ("mqtt://127.0.0.1:1", Broker("127.0.0.1", 1)),
        ("broker.local", Broker("broker.local", 47688)),
        ("[::1]:1883", Broker("::1", 1883)),
        ("mqtt://me:a%40b@host:1", Broker("host", 1, "me", "a@b")),
    ],
)
def test_address(address: str, broker: Broker) -> None:
    assert Broker.parse(address) == broker


def test_tls_address_has_a_context() -> None:
    assert Broker.parse("mqtts://host:8883").tls is not None


def test_text_form_has_no_password() -> None:
    broker = Broker.parse("mqtt://me:secret@[::1]:1")
    assert str(broker) == "[::1]:1"
    assert "secret" not in repr(broker)


@pytest.mark.parametrize("address", ["", "http://host", "host:port", "host:99999", "me:secret@host:port", "host/topic"])
def test_text_that_is_no_address(address: str) -> None:
    with pytest.raises(ValueError, match="wanted HOST:PORT") as caught:
        Broker.parse(address)
    assert "secret" not in str(caught.value)


def test_delays_double_up_to_their_bound() -> None:
    backoff = Backoff(0.0, give_up_after=100, first=1, longest=5, jitter=lambda: 1.0)
    assert [backoff.delay(0.0) for _ in range(5)] == [1, 2, 4, 5, 5]


def test_jitter_takes_up_to_half() -> None:
    backoff = Backoff(0.0, give_up_after=100, first=1, longest=5, jitter=lambda: 0.0)
    assert [backoff.delay(0.0) for _ in range(2)] == [0.5, 1]


def test_gives_up_after_a_last_attempt_at_the_limit() -> None:
    backoff = Backoff(10.0, give_up_after=3, first=5, jitter=lambda: 1.0)
    assert backoff.delay(12.0) == 1.0
    assert backoff.delay(13.0) is None
