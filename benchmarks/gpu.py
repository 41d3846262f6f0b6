"""Check training on a CUDA GPU: tests, speed, precision, memory, parallel runs, and what may differ between runs.

    python -m benchmarks.gpu [--device cpu] [--only PART ...]

It takes less than ten minutes on one card and needs no network. Each part is a process with a time limit, and prints
its rows as soon as they are measured. The time that a part does not use is left to the parts after it. The exit code is
1 if a part has failed or exceeded its time limit. With `--device cpu`, tiny sizes are used to try the script; their
numbers mean nothing.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.project import ROOT, copy_project

# Seconds, in the order of the run; together at most 9.5 minutes.
PREPARE_SECONDS = 40
LIMITS = {"tests": 75, "throughput": 170, "precision": 80, "memory": 40, "sweep": 80, "training": 85}


def main() -> None:
    """Print the rows of each part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parts = list(LIMITS)
    parser.add_argument("--only", nargs="+", choices=parts, default=parts, metavar="PART", help=", ".join(parts))
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        part, project = args.worker
        sys.exit(run_part(part, args.device, Path(project)))
    start = time.monotonic()
    print(describe_machine(args.device), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder).resolve() / "project"
        deadline, failed = start + PREPARE_SECONDS, []
        for part in ("prepare", *(part for part in parts if part in args.only)):
            deadline += LIMITS.get(part, 0)
            print(f"\n{part}", flush=True)
            if not start_part(part, args.device, project, deadline - time.monotonic()):
                failed.append(part)
    print(f"\n{time.monotonic() - start:.0f} s; failed: {', '.join(failed) or 'none'}")
    sys.exit(bool(failed))


def run_part(part: str, device: str, project: Path) -> int:
    """Run a part in this process, and return its exit code."""
    from benchmarks.gpu_parts.setting import create_setting, run_pipeline

    setting = create_setting(device, project)
    if part == "prepare":
        copy_project(project, setting.params)
        print(f"the project's composites, prepared in {run_pipeline(project, 'prepare'):.1f} s")
    else:
        importlib.import_module(f"benchmarks.gpu_parts.{part}").run(setting)
    return int(setting.has_failed)


def start_part(part: str, device: str, project: Path, seconds: float) -> bool:
    """Run a part in a new process for at most this time; return whether it succeeded."""
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", device, "--worker", part, str(project)]
    env = {**os.environ, "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}  # required by deterministic algorithms
    if device == "cpu":
        env["CUDA_VISIBLE_DEVICES"] = ""
    start = time.monotonic()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        process = subprocess.Popen(command, cwd=ROOT, env=env, stderr=errors, start_new_session=True)
        try:
            code: int | None = process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            stop_group(process)
        errors.seek(0)
        lines = errors.read().strip().splitlines()
    taken = time.monotonic() - start
    if code is None:
        print(f"{part} was stopped after {taken:.0f} s, because its time was up", flush=True)
    elif code:
        print(f"{part} failed with exit code {code} after {taken:.0f} s: {lines[-1] if lines else ''}", flush=True)
    else:
        print(f"{part} took {taken:.0f} s", flush=True)
    return code == 0


def stop_group(process: subprocess.Popen[bytes]) -> None:
    """End a process that was started in its own session, and all processes that it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def describe_machine(device: str) -> str:
    """Describe the hardware and the versions; exit if torch finds no GPU."""
    import torch

    versions = f"torch {torch.__version__}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"  # type: ignore[no-untyped-call]
    if device == "cpu":
        return f"CPU, tiny sizes, to try the script; {versions}, Python {platform.python_version()}"
    code = "import torch; print(torch.cuda.get_device_properties(0))"  # in another process, to keep the memory free
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"torch finds no GPU: {done.stderr.strip().splitlines()[-1]}")
    cores = len(os.sched_getaffinity(0))
    return f"{done.stdout.strip()}, {cores} CPU cores, {versions}, Python {platform.python_version()}"


if __name__ == "__main__":
    main()
