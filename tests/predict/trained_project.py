"""A project with one small run, and a function that segments images with it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from ruamel.yaml import YAML

from pipeline.cli import main
from pipeline.params.file import read_params
from pipeline.prepare.prepare_data import prepare
from pipeline.train.train_cell import train_and_log
from tests.conftest import TINY, TRAINED, load_shipped_params, merge

Predict = Callable[..., Result]


def train_project(root: Path, store: Path, section: dict[str, Any], **train: Any) -> None:
    """Train one run in a folder, given the `data` section and keys of `train`; `store` is an MLflow database."""
    shutil.copy(store, root / "mlflow.db")
    content = merge(load_shipped_params(), TINY) | {"data": section}
    content["grid"] = {"variant": ["unet"], "learning_rate": [0.01], "seed": [0]}
    content["train"] = {**content["train"], **train}
    with (root / "params.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(content, file)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv("DVC_ROOT", raising=False)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        params = read_params(root / "params.yaml")
        prepare(params)
        train_and_log(params, params.cells()[0])


def create_predict(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Predict:
    """Return a function that runs `pipeline predict` with the run, and writes to the folder out."""
    monkeypatch.chdir(root)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def call(*arguments: object, code: int = 0) -> Result:
        options = ["--run", TRAINED, "--out", str(tmp_path / "out")]
        done = CliRunner().invoke(main, ["predict", *options, *map(str, arguments)])
        assert done.exit_code == code, done.output
        return done

    return call
