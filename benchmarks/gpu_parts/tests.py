"""Run the tests that are skipped without a GPU."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.gpu_parts.setting import Setting
from benchmarks.project import ROOT

FILES = ("tests/train/test_gpu.py", "tests/data/test_batch_loader.py")


def run(setting: Setting) -> None:
    """Print the output of pytest."""
    if subprocess.run([sys.executable, "-c", "import pytest"], capture_output=True, check=False).returncode:
        print("skipped, because pytest is not installed (extra test)")
        return
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "--tb=short", "-p", "no:cacheprovider", *FILES]
    done = subprocess.run(command, cwd=ROOT, check=False)
    setting.has_failed = done.returncode != 0
