"""Addresses of brokers: how they are written, and what is said of wrong ones."""

from __future__ import annotations

import pytest

from oocana_async.transport.mqtt.address import Broker


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
