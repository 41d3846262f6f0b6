"""Run `pipeline` as on a system that has none of Linux's own calls.

The libraries are imported first, because they choose their calls by the system's name. Then the calls are hidden from
the project's code, including that of its worker processes, which import this module too.

    python tests/runtime/hidden_calls.py train --variant unet --learning-rate 0.01 --seed 0
    python tests/runtime/hidden_calls.py             # imports all modules and prints the help
"""

from __future__ import annotations

import ctypes
import importlib
import os
import pkgutil
import select
import signal
import sys

LIBRARIES = (
    "dvc.cli", "dvc.commands.repro", "dvc.lock", "dvc.repo", "filelock", "mlflow.store.tracking.sqlalchemy_store",
    "onnxruntime", "onnxscript", "pooch", "psutil", "requests", "segmentation_models_pytorch", "tifffile",
    "torch._dynamo", "zc.lockfile",
)  # fmt: skip
CALLS = {
    os: (
        "forkpty", "getegid", "geteuid", "getgid", "getpgid", "getpgrp", "getuid", "killpg", "mkfifo", "nice",
        "sched_getaffinity", "sched_setaffinity", "setpgid", "setpgrp", "setsid", "statvfs",
    ),
    select: ("epoll", "poll"),
    signal: (
        "alarm", "pthread_kill", "setitimer", "sigwait", "ITIMER_REAL", "SIGALRM", "SIGHUP", "SIGPIPE", "SIGUSR1",
    ),
}  # fmt: skip
MODULES = ("fcntl", "grp", "pty", "pwd", "resource", "termios")


def hide() -> None:
    """Import the libraries, then hide the calls."""
    for name in LIBRARIES:
        importlib.import_module(name)
    for module, names in CALLS.items():
        for name in names:
            delattr(module, name)
    for name in MODULES:
        sys.modules[name] = None  # type: ignore[assignment] # importing it raises an ImportError
    load = ctypes.CDLL.__init__

    def load_by_name(self: ctypes.CDLL, name: str | None, *arguments: object, **options: object) -> None:
        if name is None:  # the process itself, which Windows does not support
            raise TypeError
        load(self, name, *arguments, **options)  # type: ignore[arg-type]

    ctypes.CDLL.__init__ = load_by_name  # type: ignore[method-assign, assignment]


def import_all() -> None:
    """Import every module of the package."""
    import pipeline

    for found in pkgutil.walk_packages(pipeline.__path__, "pipeline."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)


if __name__ in ("__main__", "__mp_main__"):  # the second in a worker process
    hide()
if __name__ == "__main__":
    if not sys.argv[1:]:
        import_all()
    from pipeline.cli import main

    main(sys.argv[1:] or ["--help"])
