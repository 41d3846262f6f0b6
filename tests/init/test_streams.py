"""`init`, the check and `prepare` on archives and on Hugging Face data sets."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from PIL import Image
from ruamel.yaml import YAML

from pipeline.artifacts.prepared_data import PreparedData
from pipeline.cli import main
from tests.init.conftest import ROOT
from tests.prepare.image_tables import (
    draw_mask,
    encode,
    make_cells,
    make_image,
    make_table,
    write_data_set,
    write_parquet,
    write_saved,
)

COUNT = 24


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skip_grid_timing: None) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "10000")
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    return tmp_path


def run(*arguments: str) -> str:
    result = CliRunner().invoke(main, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def check(path: str, count: int = COUNT) -> tuple[str, dict[str, Any]]:
    """Run `init`, the check and `prepare`. Return the output of `init` and the section that it writes."""
    output = run("init", path)
    section: dict[str, Any] = YAML(typ="safe").load(Path("params.yaml").read_text(encoding="utf-8"))["data"]
    assert section["path"] == path
    assert f"{path}: no errors with params.yaml" in run("data", "check", path)
    run("prepare")
    masks = PreparedData(Path("data/prepared")).open_split("train").masks
    assert {value for mask in (masks[place] for place in range(len(masks))) for value in np.unique(mask)} == set(
        range(len(section["classes"]))
    )
    assert f"{count} images of 32 × 32 px" in output
    return output, section


def write_tar(path: str, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz" if path.endswith("gz") else "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def to_jpeg(content: bytes) -> bytes:
    return encode(Image.open(io.BytesIO(content)), "JPEG")


@pytest.mark.parametrize("suffix", ["png", "seg.png"])
@pytest.mark.parametrize("name", ["shard-000000.tar", "shard-000000.tar.gz"])
def test_init_pairs_the_files_of_a_web_dataset(name: str, suffix: str, folder: Path) -> None:
    files: dict[str, bytes] = {}
    for number in range(COUNT):
        files[f"{number:06d}.jpg"] = to_jpeg(make_image(number))
        files[f"{number:06d}.{suffix}"] = encode(draw_mask(number))
        files[f"{number:06d}.json"] = b'{"caption": "squares"}'
    write_tar(name, files)
    _, section = check(name)
    assert section["source"] == "image_mask_folder"


def test_init_recognizes_coco_in_a_zip(folder: Path) -> None:
    content = {
        "images": [{"id": n, "file_name": f"{n}.png", "height": 32, "width": 32} for n in range(COUNT)],
        "categories": [{"id": 1, "name": "square"}],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 1, "iscrowd": 0, "segmentation": [[2, 2, 20, 2, 20, 20, 2, 20]]}
            for n in range(COUNT)
        ],
    }
    with zipfile.ZipFile("squares.zip", "w") as archive:
        for number in range(COUNT):
            archive.writestr(f"squares/images/{number}.png", make_image(number))
        archive.writestr("squares/annotations.json", json.dumps(content))
    _, section = check("squares.zip")
    assert (section["source"], section["annotations"]) == ("coco", "annotations.json")


def test_data_check_shows_the_images_of_an_archive(folder: Path) -> None:
    with zipfile.ZipFile("cells.zip", "w") as archive:
        for number in range(COUNT):
            archive.writestr(f"images/{number}.png", make_image(number))
            archive.writestr(f"masks/{number}.png", encode(draw_mask(number)))
        archive.writestr("images/broken.png", b"no image")
        archive.writestr("masks/broken.png", encode(draw_mask(0)))
    (folder / "reports").symlink_to(ROOT / "reports")  # the templates
    run("init", "cells.zip")
    result = CliRunner().invoke(main, ["data", "check", "cells.zip", "--html", "page.html"])
    assert result.exit_code == 1
    page = Path("page.html").read_text(encoding="utf-8")
    assert "images/broken.png" in page
    assert "data:image" in page


def test_init_recognizes_parquet_files(folder: Path) -> None:
    write_data_set(folder / "pets")
    output, section = check("pets", 36)
    assert output.startswith("pets: 4 files of a Hugging Face data set with the columns image and annotation, 36")
    assert (section["source"], section["images"], section["masks"]) == ("huggingface", "image", "annotation")
    assert [item["mask_value"] for item in section["classes"]] == [0, 1, 2]
    assert "The files of the images are named like splits and are used as splits" in output


def test_init_recognizes_a_saved_data_set(folder: Path) -> None:
    write_saved(folder / "saved", {"train": [make_table(make_cells(0, COUNT))]})
    output, section = check("saved")
    assert section["source"] == "huggingface"
    assert "All images are in training files" in output


def write_labels(folder: Path) -> None:
    folder.mkdir()
    names = {"0": "background", "1": "cat", "2": "dog", "3": "unseen"}
    (folder / "id2label.json").write_text(json.dumps(names), encoding="utf-8")


@pytest.mark.parametrize("origin", ["file", "List", "Sequence", "legacy", "per image", "too few"])
def test_init_uses_declared_class_names(origin: str, folder: Path) -> None:
    names = ["background", "cat"] if origin == "too few" else ["background", "cat", "dog", "unseen"]
    label = {"_type": "ClassLabel", "names": names}
    features: dict[str, Any] = {
        "file": {},
        "legacy": {"objects": [label]},
        "per image": {"objects": label},
    }.get(origin, {"objects": {"_type": origin if origin == "Sequence" else "List", "feature": label}})
    if origin == "file":
        write_labels(folder / "pets")
    cells: dict[str, list[Any]] = {**make_cells(0, COUNT), "objects": [[1]] * COUNT}
    write_parquet(folder / "pets" / "train.parquet", make_table(cells, features))
    output = run("init", "pets")
    section = YAML(typ="safe").load(Path("params.yaml").read_text(encoding="utf-8"))["data"]
    is_named = origin not in ("per image", "too few")
    assert [item["name"] for item in section["classes"]] == (
        names if is_named else ["background", "class_1", "class_2"]
    )
    assert [item["foreground"] for item in section["classes"]] == [False, *[True] * (3 if is_named else 2)]
    assert ("check that the masks mean them" in output) == is_named


def test_init_names_other_columns_of_images(folder: Path) -> None:
    cells: dict[str, list[Any]] = make_cells(0, COUNT)
    table = make_table(cells).append_column("instance_mask", pa.array([encode(draw_mask(0))] * COUNT))
    write_parquet(folder / "pets" / "train.parquet", table)
    output = run("init", "pets")
    assert "data.masks: annotation is proposed; other columns with image files are instance_mask." in output


def test_init_without_a_column_of_masks_lists_the_columns(folder: Path) -> None:
    table = make_table({"image": make_cells(0, 4)["image"], "label": [1, 2, 3, 4]})
    write_parquet(folder / "pets" / "train.parquet", table)
    result = CliRunner().invoke(main, ["init", "pets"])
    assert result.exit_code == 1
    assert "has the columns image, label;" in result.output


def test_init_reads_image_files_that_a_table_describes(folder: Path) -> None:
    for number in range(COUNT):
        for kind, content in (("images", make_image(number)), ("masks", encode(draw_mask(number)))):
            (folder / "cells" / kind).mkdir(parents=True, exist_ok=True)
            (folder / "cells" / kind / f"c{number}.png").write_bytes(content)
    write_parquet(folder / "cells" / "metadata.parquet", make_table({"name": ["c0"], "patient": [7]}))
    assert check("cells")[1]["source"] == "image_mask_folder"


@pytest.mark.parametrize("name", ["params.yaml", "nowhere.zip"])
def test_init_and_check_of_another_file_are_errors(name: str, folder: Path) -> None:
    for command in (["init", name], ["data", "check", name]):
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 1
        assert name in result.output
