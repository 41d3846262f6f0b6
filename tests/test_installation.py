"""The locked versions: complete, and with PyTorch's CPU build from another index."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]


def read_locked(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def find_unlocked(requirements: Iterable[str], locked: dict[str, str]) -> set[str]:
    """Find the requirements that no locked version fulfills."""
    unlocked = set()
    for requirement in map(Requirement, requirements):
        name = canonicalize_name(requirement.name)
        if name != PROJECT["name"] and not (name in locked and requirement.specifier.contains(locked[name])):
            unlocked.add(str(requirement))
    return unlocked


def test_constraints_lock_all_requirements() -> None:
    users = read_locked("constraints.txt")
    extras = [line for extra in ("bioimageio", "excel", "geo", "ray", "volumes") for line in EXTRAS[extra]]
    assert find_unlocked([*PROJECT["dependencies"], *extras], users) == set()
    tests = read_locked("constraints-test.txt")
    assert find_unlocked([line for extra in EXTRAS.values() for line in extra], {**users, **tests}) == set()
    assert users.keys() & tests.keys() == set()


def write_index(folder: Path, version: str) -> str:
    """Write a package index with a wheel of torch without content, and return its address."""
    info, name = f"torch-{version}.dist-info", f"torch-{version}-py3-none-any.whl"
    files = {
        "METADATA": f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    (folder / "torch").mkdir(parents=True)
    with zipfile.ZipFile(folder / "torch" / name, "w") as wheel:
        for file, content in files.items():
            wheel.writestr(f"{info}/{file}", content)
    (folder / "torch/index.html").write_text(f'<a href="{name.replace("+", "%2B")}">{name}</a>', encoding="utf-8")
    return folder.as_uri()


@pytest.mark.process
@pytest.mark.parametrize("is_cpu_build", [False, True])
def test_locked_version_accepts_the_cpu_build(is_cpu_build: bool, tmp_path: Path) -> None:
    locked = read_locked("constraints.txt")["torch"]
    indexes = [write_index(tmp_path / "all", locked), write_index(tmp_path / "cpu", f"{locked}+cpu")]
    options = ["--dry-run", "--ignore-installed", "--quiet", "--report", "-", "--constraint", ROOT / "constraints.txt"]
    environment = {name: value for name, value in os.environ.items() if not re.match("PIP_", name)}
    environment |= {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": indexes[0]}
    environment |= {"PIP_EXTRA_INDEX_URL": indexes[1]} if is_cpu_build else {}
    command = [sys.executable, "-m", "pip", "install", *options, "torch"]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    (found,) = json.loads(done.stdout)["install"]
    assert found["metadata"]["version"] == (f"{locked}+cpu" if is_cpu_build else locked)
