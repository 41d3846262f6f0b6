"""Run a local MLflow server behind a proxy that delays its responses, to simulate a distant server."""

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
def start_delayed_server(folder: Path, latency: float) -> Iterator[str]:
    """Yield the URL of a server with a SQLite store in the folder, whose responses are delayed by `latency` seconds."""
    server_port, proxy_port = find_free_port(), find_free_port()
    command = ["mlflow", "server", "--backend-store-uri", f"sqlite:///{folder}/served.db", "--workers", "1"]
    command += ["--artifacts-destination", f"{folder}/artifacts", "--port", str(server_port)]
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", *command], stdout=log, stderr=log, cwd=folder, start_new_session=True
        )
    loop = asyncio.new_event_loop()
    try:
        _wait_for(f"http://127.0.0.1:{server_port}/health")
        loop.run_until_complete(_start_proxy(proxy_port, server_port, latency))
        threading.Thread(target=loop.run_forever, daemon=True).start()
        yield f"http://127.0.0.1:{proxy_port}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def find_free_port() -> int:
    """Return a free TCP port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _start_proxy(proxy_port: int, server_port: int, latency: float) -> None:
    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                await asyncio.sleep(delay)
                writer.write(data)
                await writer.drain()
        writer.close()

    async def connect(client_reader: asyncio.StreamReader, client_writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", server_port)
        await asyncio.gather(forward(client_reader, server_writer, 0), forward(server_reader, client_writer, latency))

    await asyncio.start_server(connect, "127.0.0.1", proxy_port)


def _wait_for(url: str) -> None:
    for _ in range(300):
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.2)
    raise SystemExit(f"The server at {url} did not respond in time.")
