"""Where a server listens: an address of this machine and a port, and who can reach it there."""

from __future__ import annotations

import errno
import ipaddress
import socket
from dataclasses import dataclass

from pipeline.errors import PipelineError

LOOPBACK = "127.0.0.1"
# Browsers open no page at these ports: https://fetch.spec.whatwg.org/#port-blocking
BLOCKED_PORTS = frozenset([
    0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109,
    110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530,
    531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190,
    5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
])  # fmt: skip
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
        """Raise `PipelineError` if the machine has no such address, or the port is taken or blocked by browsers."""
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
            raise PipelineError(self._choose_another("taken by another program")) from None
        if self.port in BLOCKED_PORTS:
            raise PipelineError(self._choose_another("one of those that browsers refuse to open"))

    def _choose_another(self, reason: str) -> str:
        others = (Address(self.host, port) for port in range(self.port + 1, min(self.port + _PORTS_TO_TRY, 65536)))
        free = next((other.port for other in others if other._is_free()), None)
        example = f", such as {free}" if free else ""
        return f"Port {self.port} of {self.host} is {reason}. Choose another{example}: pipeline ui --port {free or 'N'}"

    def _is_free(self) -> bool:
        try:
            self._bind()
        except OSError:
            return False
        return self.port not in BLOCKED_PORTS

    def _bind(self) -> None:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was just left is free
            probe.bind((self.host, self.port))
