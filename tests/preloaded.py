"""Run `pipeline` and `dvc` in processes that are forked from one with the heavy libraries imported.

A command starts seconds earlier than in a new interpreter. It is a process of its own, with its own environment,
folder, output and exit code, and imports the code of its project. A test that kills a command or reads its command line
starts the real one instead.
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
from collections.abc import Iterator, Mapping
from pathlib import Path

COMMANDS = {"pipeline": "pipeline.cli", "dvc": "dvc.cli"}
WORKER = "python-worker"
MOST_FILES = 64
# Never `pipeline`: a project has a copy of it.
LIBRARIES = (
    "click", "dvc.cli", "dvc.commands.repro", "dvc.render", "dvc.repo", "filelock", "imagehash", "jinja2",
    "markdown_it", "matplotlib.backends.backend_svg", "matplotlib.figure", "mlflow", "pandas", "pydantic",
    "mlflow.store.tracking.sqlalchemy_store", "rich.progress", "ruamel.yaml", "safetensors.torch", "scipy.ndimage",
    "scipy.optimize", "scipy.stats", "scmrepo.git", "tifffile", "torch", "torch._dynamo", "torch.utils.data",
)  # fmt: skip
# A stand-in for a command on the PATH, or for the interpreter that `multiprocessing` starts: it passes everything on to
# the server, also its open files and signals, and ends as the process there ends. -I -S: no site-packages.
STAND_IN = """#!{python} -IS
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
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


class PreloadedCommands:
    """A server that runs the commands, and a folder for the PATH with their stand-ins."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    @contextlib.contextmanager
    def running(cls) -> Iterator[PreloadedCommands]:
        """Start the server; it ends when the block does."""
        # Not pytest's folder: the path of a socket has 100 characters at most.
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            address = folder / "socket"
            for name in (*COMMANDS, WORKER):
                stand_in = folder / name
                stand_in.write_text(STAND_IN.format(python=sys.executable, address=str(address)), encoding="utf-8")
                stand_in.chmod(0o755)
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

    def run(self, *command: str, folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run a command in a folder; also commands that it starts, such as those of DVC and make, are preloaded."""
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
    """Fork a process for each command that a stand-in sends, until the tests have ended.

    Args:
        address: path of the socket that the stand-ins connect to.
        worker: path of the stand-in for the interpreter of `multiprocessing`.
    """
    for name in LIBRARIES:
        importlib.import_module(name)
    multiprocessing.set_executable(worker)
    gc.freeze()  # a collection in a command would copy every page
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    print("ready", flush=True)
    while listener in select.select([listener, sys.stdin], [], [])[0]:  # stdin ends with the process of the tests
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
    data, files, _, _ = socket.recv_fds(connection, 2**20, MOST_FILES)
    while not data.endswith(b"\n"):
        data += connection.recv(2**20)
    command = os.fork()
    if command == 0:
        connection.close()
        run_here(*json.loads(data), received=files)
    connection.sendall(b"%d\n" % command)
    for file in files:
        os.close(file)
    _, status = os.waitpid(command, 0)
    connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def run_here(
    name: str, arguments: list[str], folder: str, environment: dict[str, str], files: list[int], received: list[int]
) -> None:
    """Run a command in this process, as if it had started with these open files, in this folder and environment."""
    apart = [fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 1000) for file in received]
    for file in received:
        os.close(file)
    for file, number in zip(apart, files, strict=True):
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.modules["__main__"] = types.ModuleType("__main__")  # what a worker would import first
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
    # Python's exit without the last step: to free all that was imported takes half a second.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if not stream.closed:
            stream.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    serve(*sys.argv[1:])
