"""Names a process for a person who wants to find it."""

from __future__ import annotations

import os
import socket
from datetime import datetime


def describe_process() -> str:
    """Return this process by its id, machine and the time now."""
    return f"process {os.getpid()} on {socket.gethostname()}, since {datetime.now():%H:%M}"
