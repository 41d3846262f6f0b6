"""Weights record the images that they were trained on, and no run is validated or tested on these images."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML
from safetensors.torch import load_file, save_file

from pipeline.artifacts.prepared_data import PreparedData
from pipeline.artifacts.project import PREPARED
from pipeline.artifacts.run_folder import RunFolder
from pipeline.cli import main
from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.params.file import read_params
from pipeline.prepare.prepare_data import prepare
from pipeline.train.train_cell import train_cell
from pipeline.train.training_images import collect_training_images
from tests.conftest import TRAINED, write_params
from tests.discs import DATA, write_discs

WEIGHTS = f"weights/{TRAINED}.safetensors"
NAMES = [f"{index:02}" for index in range(10)]
FOLDS = ["0", "1"] * 4 + ["test"] * 2


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with images of discs, as the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    write_discs(tmp_path / "discs", len(NAMES))
    return tmp_path


def read_grid(
    folder: Path, *, folds: int | None = None, pretrained: str | bool = False, max_train_images: int | None = None
) -> Params:
    path = write_params(folder, {"train": {"epochs": 1, "precision": "float32"}})
    yaml = YAML(typ="safe")
    content = yaml.load(path.read_text(encoding="utf-8"))
    splits = {"validation": 0.2, "test": 0.2, "folds": folds}
    content["data"] = {**DATA, "image_size": 32, "splits": splits, "max_train_images": max_train_images}
    content["variants"]["unet"] = {"model": {"pretrained": pretrained}}
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(content, file)
    return read_params(path)


def prepare_splits(folder: Path, params: Params, splits: list[str]) -> None:
    """Prepare the images with their splits or folds, in the order of their names."""
    lines = [
        f"{name},trainval,{split}" if split.isdecimal() else f"{name},{split},"
        for name, split in zip(NAMES, splits, strict=True)
    ]
    (folder / "discs/splits.csv").write_text("\n".join(["id,split,fold", *lines]), encoding="utf-8")
    prepare(params)


def add_run(run: str = TRAINED) -> None:
    result = CliRunner().invoke(main, ["weights", "add", run])
    assert result.exit_code == 0, result.output


def test_weights_of_another_fold_are_refused(folder: Path) -> None:
    params = read_grid(folder, folds=2)
    prepare_splits(folder, params, FOLDS)
    train_cell(params.cell("unet", 0.01, 0))
    add_run()
    params = read_grid(folder, folds=2, pretrained=WEIGHTS)
    with pytest.raises(PipelineError) as error:
        train_cell(params.cell("unet", 0.001, 1))
    message = str(error.value)
    # Its showcase, which is chosen from the training images, is in no fold.
    assert f"model.pretrained: {WEIGHTS} was trained on " in message
    assert "validation images of unet-0.001-1, such as 0" in message
    assert "that of unet-0.001-1 is 1" in message
    assert train_cell(params.cell("unet", 0.001, 2)).fold == 0


def test_weights_are_refused_after_a_change_of_the_splits(folder: Path) -> None:
    params = read_grid(folder)
    prepare_splits(folder, params, ["train"] * 6 + ["validation"] * 2 + ["test"] * 2)
    train_cell(params.cell("unet", 0.01, 0))
    add_run()
    params = read_grid(folder, pretrained=WEIGHTS)
    train_cell(params.cell("unet", 0.001, 0))
    prepare_splits(folder, params, ["validation"] * 3 + ["test"] * 2 + ["train"] * 5)
    with pytest.raises(PipelineError, match=r"was trained on \d validation images and 2 test images of unet-0\.001-0"):
        train_cell(params.cell("unet", 0.001, 0))


def test_weights_remember_the_images_of_the_weights_before_them(folder: Path) -> None:
    params = read_grid(folder)
    prepare_splits(folder, params, ["train"] * 4 + ["validation"] * 3 + ["test"] * 3)
    train_cell(params.cell("unet", 0.01, 0))
    add_run()
    params = read_grid(folder, pretrained=WEIGHTS)
    train_cell(params.cell("unet", 0.001, 0))
    add_run("unet-0.001-0")
    params = read_grid(folder, pretrained="weights/unet-0.001-0.safetensors", max_train_images=2)
    cell, prepared = params.cell("unet", 0.0001, 0), PreparedData(folder / PREPARED)
    trained = set(prepared.samples.query("split == 'train'")["sha256"].str[:16])
    assert len(trained) == 3  # without the showcase
    assert collect_training_images(cell, prepared) == trained


def test_only_the_training_images_of_a_subset_are_recorded(folder: Path) -> None:
    params = read_grid(folder, max_train_images=2)
    prepare_splits(folder, params, ["train"] * 4 + ["validation"] * 3 + ["test"] * 3)
    assert len(collect_training_images(params.cell("unet", 0.01, 0), PreparedData(folder / PREPARED))) == 2


def test_weights_without_the_record_are_accepted(folder: Path) -> None:
    params = read_grid(folder)
    prepare_splits(folder, params, ["train"] * 6 + ["validation"] * 2 + ["test"] * 2)
    train_cell(params.cell("unet", 0.01, 0))
    add_run()
    save_file(load_file(WEIGHTS), WEIGHTS)
    params = read_grid(folder, pretrained=WEIGHTS)
    prepare_splits(folder, params, ["validation"] * 3 + ["test"] * 2 + ["train"] * 5)
    train_cell(params.cell("unet", 0.001, 0))


def test_identical_images_are_not_known(folder: Path) -> None:
    """Blank slices of volumes are in all folds."""
    params = read_grid(folder, folds=2)
    prepare_splits(folder, params, FOLDS)
    prepared = PreparedData(folder / PREPARED)
    samples = prepared.samples
    blank = samples.loc[samples["fold"] != ""].groupby("fold").head(1).index
    samples.loc[blank, "sha256"] = "0" * 64
    samples.to_csv(prepared.path / PreparedData.SAMPLES, index=False)
    train_cell(params.cell("unet", 0.01, 0))
    add_run()
    params = read_grid(folder, folds=2, pretrained=WEIGHTS)
    assert RunFolder(folder / "runs" / TRAINED).record.fold == train_cell(params.cell("unet", 0.001, 0)).fold == 0
