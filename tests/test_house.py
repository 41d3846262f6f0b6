"""Imports point one way, and what must start quickly imports nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import pipeline

PACKAGE = Path(pipeline.__file__).parent
STAGES = {"prepare", "train", "evaluate", "compare", "showcase", "report"}
LIBRARIES = {"data", "imaging", "inference", "models", "analysis", "tracking", "variants"}
CONTRACT = {"artifacts", "atomic_io", "errors", "params", "runtime"}
ABOVE = {"cli", "init", "judge", "lr_find", "predict", "promote", "study", "sweep", "mlflow_report"}


def imports(module: Path) -> set[str]:
    """The rooms of the package that a module imports from, those imported inside functions included."""
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


def room(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


MODULES = [module for module in sorted(PACKAGE.rglob("*.py")) if module != PACKAGE / "__init__.py"]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(PACKAGE)))
def test_imports_point_one_way(module: Path) -> None:
    here, used = room(module), imports(module) - {room(module)}
    allowed = {
        **dict.fromkeys(ABOVE, STAGES | LIBRARIES | CONTRACT | ABOVE),
        **dict.fromkeys(STAGES, LIBRARIES | CONTRACT),
        **dict.fromkeys(LIBRARIES, LIBRARIES | CONTRACT),
        **dict.fromkeys(CONTRACT, CONTRACT | {"imaging"}),
        "imaging": set(),
    }
    assert used <= allowed[here]


@pytest.mark.parametrize("module", ["compare.compare_runs", "report.render_report"])
def test_stages_of_tables_and_pages_never_import_torch(module: str) -> None:
    code = f"import sys, pipeline.{module}; sys.exit('torch' in sys.modules or 'mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_own_network_needs_no_smp() -> None:
    code = (
        "import sys, pipeline.train.train_cell, pipeline.evaluate.evaluate_run\n"
        "sys.exit(bool({'segmentation_models_pytorch', 'timm', 'torchvision'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
