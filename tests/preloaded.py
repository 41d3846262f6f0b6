"""Run `pipeline` and `dvc` in processes forked from a server that has imported the heavy libraries.

A command starts seconds earlier than in a new interpreter. It still runs in its own process, with its own environment,
folder, output and exit code, and imports the code of its project. Tests that kill a command or read its command line
start the real one instead.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import gc
import importlib
import json
import multiprocessing
import os
import random
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import types
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path

COMMANDS = {"pipeline": "pipeline.cli", "dvc": "dvc.cli"}
WORKER = "python-worker"
MAX_FILES = 64
# Not `pipeline`: each project has its own copy.
LIBRARIES = (
    "click", "dvc.cli", "dvc.commands.repro", "dvc.render", "dvc.repo", "filelock", "imagehash", "jinja2",
    "markdown_it", "matplotlib.backends.backend_svg", "matplotlib.figure", "mlflow", "pandas", "pydantic",
    "mlflow.store.tracking.sqlalchemy_store", "rich.progress", "ruamel.yaml", "safetensors.torch", "scipy.ndimage",
    "scipy.optimize", "scipy.stats", "scmrepo.git", "tabulate", "tifffile", "torch", "torch._dynamo",
    "torch.utils.data",
)  # fmt: skip
# Replaces a command on the PATH, or the interpreter that `multiprocessing` starts. It forwards arguments, open files
# and signals to the server and exits as the forked process exits. -I -S: skip site-packages, to start fast.
PROXY_SCRIPT = """#!{python} -IS
import json, os, signal, socket, sys
files = [int(name) for name in os.listdir("/dev/fd") if os.path.exists("/dev/fd/" + name)]
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    request = [os.path.basename(sys.argv[0]), sys.argv[1:], os.getcwd(), dict(os.environ), files]
    socket.send_fds(server, [json.dumps(request).encode() + b"\\n"], files)
    answers = server.makefile()
    process = int(answers.readline())
    signal.signal(signal.SIGTERM, lambda number, _: os.kill(process, number))
    code = int(answers.readline())
if code < 0:
    if -code != signal.SIGKILL:
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


class PreloadedCommands:
    """A server that runs the commands, and a folder for the PATH with their proxy scripts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    @contextlib.contextmanager
    def running(cls) -> Iterator[PreloadedCommands]:
        """Run the server until the block ends."""
        # Not pytest's folder: a socket's path has at most about 100 characters.
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            address = folder / "socket"
            for name in (*COMMANDS, WORKER):
                proxy = folder / name
                proxy.write_text(PROXY_SCRIPT.format(python=sys.executable, address=str(address)), encoding="utf-8")
                proxy.chmod(0o755)
            environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
            with subprocess.Popen(
                [sys.executable, __file__, str(address), str(folder / WORKER)],
                cwd=folder,
                env={**environment, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_LOGGING_LEVEL": "WARNING"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
            ) as server:
                assert server.stdout is not None
                assert server.stdout.readline() == b"ready\n"
                try:
                    yield cls(folder)
                finally:
                    server.kill()

    @property
    def worker(self) -> str:
        """The interpreter for `multiprocessing.set_executable`."""
        return str(self._folder / WORKER)

    def run(self, *command: str, folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run a command in a folder; commands that it starts, such as those of DVC and make, are preloaded too."""
        search = f"{self._folder}{os.pathsep}{environment['PATH']}"
        program = shutil.which(command[0], path=search)
        assert program, f"{command[0]} is not installed"
        return subprocess.run(
            [program, *command[1:]],
            cwd=folder,
            env={**environment, "PATH": search},
            capture_output=True,
            text=True,
            check=False,
        )


def serve(address: str, worker: str) -> None:
    """Fork a process for each command that a proxy script sends, until the tests end.

    Args:
        address: path of the socket that the proxy scripts connect to.
        worker: path of the proxy script that replaces the interpreter of `multiprocessing`.
    """
    for name in LIBRARIES:
        importlib.import_module(name)
    for finalizer in list(weakref.finalize._registry):  # type: ignore[attr-defined]
        finalizer.atexit = False  # torch removes all its operators, which takes a tenth of a second per process
    multiprocessing.set_executable(worker)
    gc.freeze()  # a garbage collection in a forked process would copy every memory page
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    print("ready", flush=True)
    while listener in select.select([listener, sys.stdin], [], [])[0]:  # stdin closes when the test process ends
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            break
        connection.close()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
    else:
        return
    data, files, _, _ = socket.recv_fds(connection, 2**20, MAX_FILES)
    while not data.endswith(b"\n"):
        data += connection.recv(2**20)
    command = os.fork()
    if command == 0:
        connection.close()
        run_in_process(*json.loads(data), received=files)
    connection.sendall(b"%d\n" % command)
    for file in files:
        os.close(file)
    _, status = os.waitpid(command, 0)
    connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def run_in_process(
    name: str, arguments: list[str], folder: str, environment: dict[str, str], files: list[int], received: list[int]
) -> None:
    """Run a command in this process, as if started with these open files in this folder and environment."""
    duplicates = [fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 1000) for file in received]
    for file in received:
        os.close(file)
    for file, number in zip(duplicates, files, strict=True):
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.modules["__main__"] = types.ModuleType("__main__")  # a worker process would import it first
    sys.dont_write_bytecode = bool(environment.get("PYTHONDONTWRITEBYTECODE"))
    random.seed()
    code: object = None
    try:
        if name in COMMANDS:
            sys.argv = [name, *arguments]
            code = importlib.import_module(COMMANDS[name]).main()
        else:
            at = arguments.index("-c")
            sys.argv = ["-c", *arguments[at + 2 :]]
            exec(arguments[at + 1], sys.modules["__main__"].__dict__)
    except SystemExit as error:
        code = error.code
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        code = 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
    # Skip the last step of Python's exit: freeing all imported modules takes half a second.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if not stream.closed:
            stream.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    serve(*sys.argv[1:])
