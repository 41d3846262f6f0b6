"""The DVC dependencies of each stage include every module that affects its outputs."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from ruamel.yaml import YAML

import pipeline

ROOT = Path(pipeline.__file__).parents[1]
STAGES = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
MODULES = {
    "prepare": "prepare_data",
    "train": "train_cell",
    "evaluate": "evaluate_run",
    "compare": "compare_runs",
    "showcase": "predict_showcase",
    "ensemble": "evaluate_ensemble",
    "report": "write_report",
}
# Code that moves, checks or records data without affecting outputs. DVC depends on the values of the parameters, and on
# `pipeline/artifacts/format.py:FORMAT` for the file formats.
IRRELEVANT_FOR_OUTPUTS = {
    "__init__",
    "array_errors",
    "artifacts",
    "atomic_io",
    "errors",
    "params",
    "runtime",
    "tracking",
    "variants",
}
TRACKING = ROOT / "pipeline/tracking"  # what only it imports, such as the rendering of images for MLflow, has no effect
WRITE_SENTENCES = {"prepare", "compare", "report"}  # for the other stages, `wording` is only in messages


def find_imports(module: Path) -> set[Path]:
    """Find the files of this package that a module imports, without imports for type checkers."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            package = ".".join(module.relative_to(ROOT).parts[: -node.level])
            base = f"{package}.{node.module}" if node.module else package
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.ImportFrom) and node.module and id(node) not in for_types:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    files = {(ROOT / name.replace(".", "/")).with_suffix(".py") for name in names if name.startswith("pipeline.")}
    return {file for file in files if file.exists()}


@pytest.mark.parametrize("stage", STAGES)
def test_dvc_dependencies_include_all_imported_modules(stage: str) -> None:
    found, unvisited = set[Path](), {ROOT / "pipeline" / stage / f"{MODULES[stage]}.py"}
    while unvisited:
        module = unvisited.pop()
        found.add(module)
        if TRACKING not in module.parents:
            unvisited |= find_imports(module) - found
    deps = [ROOT / path for path in STAGES[stage]["deps"]]
    missing = [
        str(module.relative_to(ROOT))
        for module in sorted(found)
        if module.relative_to(ROOT / "pipeline").parts[0].removesuffix(".py")
        not in IRRELEVANT_FOR_OUTPUTS | (set() if stage in WRITE_SENTENCES else {"wording"})
        and not any(module.is_relative_to(path) for path in deps)
    ]
    assert len(found) > 10
    assert missing == []
