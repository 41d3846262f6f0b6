"""Allowed imports between the packages, and stages that must not import heavy libraries."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import pipeline

PACKAGE = Path(pipeline.__file__).parent
STAGES = {"prepare", "train", "evaluate", "compare", "showcase", "ensemble", "report"}
LIBRARIES = {
    *("analysis", "curve_readers", "data", "imaging", "inference", "models", "scenes", "tracking", "variants"),
    "volumes",
}
BASE = {"array_errors", "artifacts", "atomic_io", "errors", "number_format", "params", "runtime", "wording"}
COMMANDS = {
    *("__main__", "change_report", "cli", "data_check", "export", "init", "judge", "lr_find", "mlflow_report"),
    *("notebook", "predict", "promote", "study", "summary", "sweep", "weights"),
}


def find_imports(module: Path) -> set[str]:
    """Find the subpackages that a module imports from, including imports inside functions."""
    names = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "pipeline":
            parts = node.module.split(".")
            names |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = module.relative_to(PACKAGE).parts[: -node.level]
            names |= {(*base, *(node.module or alias.name for alias in node.names))[0].split(".")[0]}
        elif isinstance(node, ast.Import):
            names |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("pipeline.")}
    return names


def get_subpackage(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


MODULES = [module for module in sorted(PACKAGE.rglob("*.py")) if module != PACKAGE / "__init__.py"]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(PACKAGE)))
def test_subpackage_imports_only_allowed_subpackages(module: Path) -> None:
    subpackage = get_subpackage(module)
    allowed = {
        **dict.fromkeys(COMMANDS, STAGES | LIBRARIES | BASE | COMMANDS),
        **dict.fromkeys(STAGES, LIBRARIES | BASE),
        **dict.fromkeys(LIBRARIES, LIBRARIES | BASE),
        **dict.fromkeys(BASE, BASE | {"imaging"}),
        "imaging": set(),
    }
    assert find_imports(module) - {subpackage} <= allowed[subpackage]


def test_compare_report_and_data_check_do_not_import_torch_or_mlflow() -> None:
    code = (
        "import importlib, sys\n"
        "for module in 'compare.compare_runs', 'report.write_report', 'data_check.page':\n"
        "    importlib.import_module(f'pipeline.{module}')\n"
        "    if {'torch', 'mlflow'} & set(sys.modules):\n"
        "        sys.exit(f'{module} imports torch or mlflow')"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_train_and_evaluate_import_smp_only_on_demand() -> None:
    code = (
        "import sys, pipeline.train.train_cell, pipeline.evaluate.evaluate_run\n"
        "sys.exit(bool({'segmentation_models_pytorch', 'timm', 'torchvision'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
