"""A real Ray cluster on this machine, run by test_ray.py in a network namespace of its own: only loopback is in it.

A head without processors, two nodes with one each that see the project's folder; one of them is killed while it trains.
Then a node that does not see the folder takes what is left. What happened is printed as JSON in the last line.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import psutil
import ray

ADDRESS = "127.0.0.1:6380"
VARIABLES = {
    **os.environ,
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "PYTHONPATH": str(Path.cwd()),
    "RAY_USAGE_STATS_ENABLED": "0",
}


@contextmanager
def running(*command: str, log: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command that is ended, with all that it started, when the block ends."""
    with (Path.cwd().parent / log).open("wb") as file:
        process = subprocess.Popen(command, env=VARIABLES, stdout=file, stderr=file, start_new_session=True)
    try:
        yield process
    finally:
        kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        for one in (psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)):
            with suppress(psutil.Error):
                one.kill()
        process.wait()


def node(log: str, hidden: bool = False) -> AbstractContextManager[subprocess.Popen[bytes]]:
    start = f"ray start --address={ADDRESS} --num-cpus=1 --object-store-memory=100000000 --block"
    hide = f"mount -t tmpfs none '{Path.cwd()}' && cd / && " if hidden else ""
    return running("unshare", "-m", "bash", "-c", f"{hide}{start} || {start} || {start}", log=log)


def trains(process: subprocess.Popen[bytes]) -> str:
    """The run that a node is at: Ray gives its workers the name of their task."""
    for child in psutil.Process(process.pid).children(recursive=True):
        with suppress(psutil.Error):
            title = " ".join(child.cmdline())
            if title.startswith("ray::unet"):
                return title.removeprefix("ray::").split()[0]
    return ""


def wait_for(answer: Callable[[], object]) -> None:
    for _ in range(600):
        try:
            answer()
            return
        except OSError:
            time.sleep(0.2)
    raise SystemExit("a server did not come up")


def nodes_are_up(count: int) -> None:
    """Raises `OSError` while fewer nodes that have a processor are alive."""
    ray.init(address=ADDRESS, log_to_driver=False, logging_level="ERROR")
    alive = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    ray.shutdown()
    if len(alive) < count:
        raise OSError


def sweep(*targets: str) -> subprocess.Popen[str]:
    command = ["pipeline", "sweep", "--ray", ADDRESS, *targets]
    return subprocess.Popen(command, env=VARIABLES, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def main() -> None:
    head = "ray start --head --num-cpus=0 --port=6380 --include-dashboard=false --object-store-memory=100000000 --block"
    with running(*head.split(), log="head"):
        wait_for(lambda: socket.create_connection(("127.0.0.1", 6380), timeout=2).close())
        with node("kept"), node("lost") as lost:
            wait_for(lambda: nodes_are_up(2))
            first = sweep("*-0.01-*")
            said, killed = "", ""
            assert first.stdout is not None
            for line in first.stdout:
                said += line
                epoch = re.match(r"(\S+): epoch (\d+)/", line)
                if not killed and epoch and int(epoch[2]) >= 4 and epoch[1] == trains(lost):
                    killed = epoch[1]
                    kill(lost)
            code = first.wait()
        with node("hidden", hidden=True):
            second = sweep()
            assert second.stdout is not None
            rest = second.stdout.read()
            codes = (code, second.wait())
    print(json.dumps({"codes": codes, "killed": killed, "first": said, "second": rest}))


if __name__ == "__main__":
    main()
