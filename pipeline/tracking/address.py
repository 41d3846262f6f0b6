"""Where a server listens: an address of this machine and a port, and who can reach it there."""

from __future__ import annotations

import errno
import ipaddress
import socket
from dataclasses import dataclass

from pipeline.errors import PipelineError

LOOPBACK = "127.0.0.1"
_PORTS_TO_TRY = 50


@dataclass(frozen=True)
class Address:
    """An IP address in its usual spelling, 0.0.0.0 or :: for all of the machine's, and a TCP port."""

    host: str
    port: int

    @property
    def is_private(self) -> bool:
        """Whether only this machine reaches it."""
        return ipaddress.ip_address(self.host).is_loopback

    @property
    def url(self) -> str:
        """What a browser on this machine opens."""
        address = ipaddress.ip_address(self.host)
        host = {"0.0.0.0": LOOPBACK, "::": "::1"}.get(str(address), str(address))
        return f"http://[{host}]:{self.port}" if address.version == 6 else f"http://{host}:{self.port}"

    def check(self) -> None:
        """Raise `PipelineError` where the machine has no such address, or another program has the port."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            raise PipelineError(f"--host must be an IP address such as {LOOPBACK}, not '{self.host}'.") from None
        try:
            self._bind()
        except OSError as error:
            if error.errno == errno.EACCES:
                raise PipelineError(f"Port {self.port} is the system's: choose one from 1024 on.") from None
            if error.errno != errno.EADDRINUSE:
                raise PipelineError(
                    f"This machine has no address {self.host}. Give one of its own, or 0.0.0.0 for all."
                ) from None
            raise PipelineError(self._taken()) from None

    def _taken(self) -> str:
        others = (Address(self.host, port) for port in range(self.port + 1, min(self.port + _PORTS_TO_TRY, 65536)))
        free = next((other.port for other in others if other._is_free()), None)
        example = f", such as {free}" if free else ""
        return (
            f"Port {self.port} of {self.host} is taken by another program. Choose another{example}: "
            f"pipeline ui --port {free or 'N'}"
        )

    def _is_free(self) -> bool:
        try:
            self._bind()
        except OSError:
            return False
        return True

    def _bind(self) -> None:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was just left is free
            probe.bind((self.host, self.port))
