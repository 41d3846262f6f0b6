"""Packages and programs that only some tests need: without them, the tests are skipped, or fail in CI."""

from __future__ import annotations

import importlib
import os
import shutil
from typing import Any, NoReturn

import pytest

SKIP_NOTHING = "SKIP_NOTHING"  # environment variable that .ci/run sets after it has installed everything


def import_or_skip(module: str) -> Any:
    """Import a module of the extra `test-all`; skip the test, or at the top of a module all of its tests."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        _skip(f"{module.split('.')[0]} is not installed; the extra test-all has it: make install-test-all")


def find_or_skip(*programs: str) -> str:
    """Find the first of these programs on the PATH; skip the test if there is none."""
    paths = [path for program in programs if (path := shutil.which(program))]
    return paths[0] if paths else _skip(f"{programs[0]} is not on the PATH; .ci/install-debian-packages installs it")


def _skip(reason: str) -> NoReturn:
    if os.environ.get(SKIP_NOTHING):
        pytest.fail(reason)
    pytest.skip(reason, allow_module_level=True)
