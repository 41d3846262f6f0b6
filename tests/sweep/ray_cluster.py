"""A Ray cluster on this machine, run by test_ray.py in a network namespace with only the loopback interface.

A head without CPUs and two nodes with one CPU each share the project's folder; one node is killed while it trains. Then
a node that cannot see the folder trains the remaining runs. The last line of the output is a JSON object with the
results.
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
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "PYTHONPATH": str(Path.cwd()),
    "RAY_USAGE_STATS_ENABLED": "0",
}


@contextmanager
def run_command(*command: str, log: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command; kill it and its child processes when the block ends."""
    with (Path.cwd().parent / log).open("wb") as file:
        process = subprocess.Popen(command, env=ENVIRONMENT, stdout=file, stderr=file, start_new_session=True)
    try:
        yield process
    finally:
        kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        parent = psutil.Process(process.pid)
        for target in (parent, *parent.children(recursive=True)):
            with suppress(psutil.Error):
                target.kill()
        process.wait()


def start_node(log: str, is_isolated: bool = False) -> AbstractContextManager[subprocess.Popen[bytes]]:
    start = f"ray start --address={ADDRESS} --num-cpus=1 --object-store-memory=100000000 --block"
    hide = f"mount -t tmpfs none '{Path.cwd()}' && cd / && " if is_isolated else ""
    return run_command("unshare", "-m", "bash", "-c", f"{hide}{start} || {start} || {start}", log=log)


def get_current_run(process: subprocess.Popen[bytes]) -> str:
    """Return the run that a node trains: Ray names its worker processes after their task."""
    for child in psutil.Process(process.pid).children(recursive=True):
        with suppress(psutil.Error):
            title = " ".join(child.cmdline())
            if title.startswith("ray::unet"):
                return title.removeprefix("ray::").split()[0]
    return ""


def wait_for(check: Callable[[], object]) -> None:
    for _ in range(600):
        try:
            check()
            return
        except OSError:
            time.sleep(0.2)
    raise SystemExit("the cluster did not start")


def check_nodes(count: int) -> None:
    """Raise `OSError` while fewer nodes with a CPU are alive."""
    ray.init(address=ADDRESS, log_to_driver=False, logging_level="ERROR")
    alive = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    ray.shutdown()
    if len(alive) < count:
        raise OSError


def start_sweep(*targets: str) -> subprocess.Popen[str]:
    command = ["pipeline", "sweep", "--ray", ADDRESS, *targets]
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def main() -> None:
    head = "ray start --head --num-cpus=0 --port=6380 --include-dashboard=false --object-store-memory=100000000 --block"
    with run_command(*head.split(), log="head"):
        wait_for(lambda: socket.create_connection(("127.0.0.1", 6380), timeout=2).close())
        with start_node("kept"), start_node("lost") as lost:
            wait_for(lambda: check_nodes(2))
            first = start_sweep("*-0.01-*")
            output, killed = "", ""
            assert first.stdout is not None
            for line in first.stdout:
                output += line
                epoch = re.match(r"(\S+): epoch (\d+)/", line)
                if not killed and epoch and int(epoch[2]) >= 4 and epoch[1] == get_current_run(lost):
                    killed = epoch[1]
                    kill(lost)
            code = first.wait()
        with start_node("isolated", is_isolated=True):
            second = start_sweep()
            assert second.stdout is not None
            rest = second.stdout.read()
            codes = (code, second.wait())
    print(json.dumps({"codes": codes, "killed": killed, "first": output, "second": rest}))


if __name__ == "__main__":
    main()
