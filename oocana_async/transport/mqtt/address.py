"""Where a broker is and how to log in: `127.0.0.1:47688`, `mqtt://user:password@host:port`, `mqtts://[::1]:8883`."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import unquote, urlsplit

__all__ = ["DEFAULT_PORT", "Broker"]

DEFAULT_PORT = 47688
"""Port of the broker when none is given (protocol.md 1.1)."""

_SCHEMES = {"mqtt": False, "tcp": False, "mqtts": True, "ssl": True, "tls": True}


@dataclass(frozen=True)
class Broker:
    """Address of an MQTT broker and the login for it.

    Attributes:
        host: name or IP address, IPv6 without brackets.
        port: TCP port.
        username: user name, None for an anonymous login.
        password: password, None for none.
        tls: how to secure the connection, None for plain TCP.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, address: str) -> Self:
        """Read an address as the engine passes it, with or without a scheme.

        Raises:
            ValueError: The text is no address.
        """
        url = urlsplit(address if "://" in address else f"mqtt://{address}")
        try:
            secure, port = _SCHEMES[url.scheme], url.port
        except (KeyError, ValueError) as error:
            raise _bad(address) from error
        if not url.hostname or url.path.strip("/"):
            raise _bad(address)
        return cls(
            url.hostname,
            port or DEFAULT_PORT,
            unquote(url.username) if url.username else None,
            unquote(url.password) if url.password else None,
            ssl.create_default_context() if secure else None,
        )

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def _bad(address: str) -> ValueError:
    shown = address.rpartition("@")[2]  # whatever stands before it may be a password
    return ValueError(f"broker address {shown!r}; wanted HOST:PORT, mqtt://[USER:PASSWORD@]HOST[:PORT] or mqtts://…")
