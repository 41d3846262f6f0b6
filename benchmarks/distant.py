"""An MLflow server on this machine that answers as late as one far away."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def distant_server(folder: Path, latency: float) -> Iterator[str]:
    """The address of a server with SQLite in the folder, whose every answer comes `latency` seconds later."""
    port, near = free_port(), free_port()
    command = ["mlflow", "server", "--backend-store-uri", f"sqlite:///{folder}/served.db", "--workers", "1"]
    command += ["--artifacts-destination", f"{folder}/artifacts", "--port", str(port)]
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", *command], stdout=log, stderr=log, cwd=folder, start_new_session=True
        )
    loop = asyncio.new_event_loop()
    try:
        _wait_for(f"http://127.0.0.1:{port}/health")
        loop.run_until_complete(_listen(near, port, latency))
        threading.Thread(target=loop.run_forever, daemon=True).start()
        yield f"http://127.0.0.1:{near}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def free_port() -> int:
    """A port at which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _listen(near: int, port: int, latency: float) -> None:
    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, late: float) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                await asyncio.sleep(late)
                writer.write(data)
                await writer.drain()
        writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(carry(reader, back, 0), carry(there, writer, latency))

    await asyncio.start_server(connect, "127.0.0.1", near)


def _wait_for(address: str) -> None:
    for _ in range(300):
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=5):
            return
        time.sleep(0.2)
    raise SystemExit(f"{address} did not come up")
