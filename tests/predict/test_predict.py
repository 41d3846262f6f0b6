"""`pipeline predict`: segment images with a trained run."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from pipeline.artifacts.evaluation_folder import EvaluationFolder
from pipeline.artifacts.prepared_data import SHOWCASE, PreparedData
from pipeline.artifacts.project import EVALUATION, PREPARED
from pipeline.cli import main
from pipeline.errors import PipelineError
from tests.conftest import TRAINED

ORIENTATION = 0x0112  # EXIF


@pytest.fixture
def predict(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(trained)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def call(*arguments: object, code: int = 0) -> Result:
        done = CliRunner().invoke(main, ["predict", "--out", str(tmp_path / "out"), *map(str, arguments)])
        assert done.exit_code == code, done.output
        return done

    return call


def create_image(width: int = 150, height: int = 90) -> Image.Image:
    """Create an image with a horizontal gradient, which differs from its rotations."""
    columns = np.linspace(0, 255, width).astype(np.uint8)
    return Image.fromarray(np.broadcast_to(columns[None, :, None], (height, width, 3)).copy())


def read_table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


def open_image(path: Path) -> Image.Image:
    return Image.open(io.BytesIO(path.read_bytes()))


def read_labels(path: Path) -> np.ndarray:
    return np.asarray(open_image(path))


def save(image: Image.Image, path: Path, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def test_predict_writes_mask_overlay_and_foreground(predict: Callable[..., Result], tmp_path: Path) -> None:
    image_file = save(create_image(), tmp_path / "image.jpg")
    done = predict("--overlay", "--foreground", image_file)
    out = tmp_path / "out"
    assert open_image(out / "masks" / "image.png").mode == "P"  # colors for viewers, class indices for programs
    assert read_labels(out / "masks" / "image.png").shape == (90, 150)
    assert open_image(out / "overlays" / "image.jpg").size == (150, 90)
    foreground = open_image(out / "foreground" / "image.png")
    assert (foreground.mode, foreground.size) == ("RGBA", (150, 90))
    (row,) = read_table(out / "shares.csv")
    shares = {name.removeprefix("share_"): float(share) for name, share in row.items() if name.startswith("share_")}
    counted = np.bincount(read_labels(out / "masks" / "image.png").ravel(), minlength=len(shares)) / (90 * 150)
    assert list(shares.values()) == pytest.approx(counted, abs=1e-6)
    assert "by unet-0.01-0" in done.output
    assert f"{out / 'shares.csv'} has the shares of all classes" in done.output


def test_predict_first_prints_the_training_data(predict: Callable[..., Result], trained: Path, tmp_path: Path) -> None:
    image_file = save(create_image(), tmp_path / "image.jpg")
    lines = predict(image_file).output.splitlines()
    title = "Cut-out animals over photographs"
    expected = f'{TRAINED} was trained on "{title}": 12 images of 32 × 32 px; classes: animal, background, border'
    assert lines[0] == expected
    assert lines[1].startswith("Photographs differ from these composites")
    assert "pipeline init FOLDER" in lines[1]
    assert "make report SET=composites" in lines[1]


def test_predict_writes_the_mask_of_the_evaluation(
    predict: Callable[..., Result], trained: Path, tmp_path: Path
) -> None:
    images = np.load(trained / PREPARED / SHOWCASE / PreparedData.IMAGES)
    examples = sorted((trained / EVALUATION / TRAINED / EvaluationFolder.EXAMPLES).glob("*.png"))
    rows = read_table(trained / PREPARED / PreparedData.SAMPLES)
    sample = next(row["id"] for row in rows if row["split"] == SHOWCASE)
    (evaluated,) = [path for path in examples if path.stem == sample]
    predict(save(Image.fromarray(images[0]), tmp_path / "showcase.png"))
    is_equal = read_labels(tmp_path / "out" / "masks" / "showcase.png") == read_labels(evaluated)
    assert is_equal.mean() > 0.999  # rounding in a batch of another size may change a pixel


KINDS: dict[str, tuple[str, Callable[[], Image.Image]]] = {
    "16 bits": ("x.png", lambda: Image.fromarray(np.asarray(create_image().convert("L")).astype(np.uint16) * 257)),
    "gray": ("x.png", lambda: create_image().convert("L")),
    "palette": ("x.png", lambda: create_image().convert("P")),
    "one bit": ("x.png", lambda: create_image().convert("1")),
    "alpha": ("x.png", lambda: create_image().convert("RGBA")),
    "gray with alpha": ("x.png", lambda: create_image().convert("LA")),
    "CMYK": ("x.jpg", lambda: create_image().convert("CMYK")),
    "TIFF": ("x.tif", lambda: create_image()),
    "one pixel": ("x.png", lambda: create_image(1, 1)),
    "thin": ("x.png", lambda: create_image(900, 2)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_predict_accepts_every_image_mode(kind: str, predict: Callable[..., Result], tmp_path: Path) -> None:
    name, make = KINDS[kind]
    image = make()
    predict("--overlay", "--foreground", save(image, tmp_path / name))
    mask = "x.tif" if kind == "TIFF" else "x.png"
    assert read_labels(tmp_path / "out" / "masks" / mask).shape == (image.height, image.width)


def test_predict_applies_exif_orientation(predict: Callable[..., Result], tmp_path: Path) -> None:
    upright = save(create_image(), tmp_path / "upright.png")
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # rotate by 90 degrees clockwise
    rotated = save(create_image().transpose(Image.Transpose.ROTATE_90), tmp_path / "rotated.png", exif=exif)
    predict(upright, rotated)
    masks = tmp_path / "out" / "masks"
    assert (read_labels(masks / "upright.png") == read_labels(masks / "rotated.png")).all()


def test_predict_with_broken_files_reports_and_skips_them(predict: Callable[..., Result], tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    save(create_image(), folder / "day 1" / "a.png")
    save(create_image(), folder / "b.jpg")
    (folder / "c.jpg").write_bytes((folder / "b.jpg").read_bytes()[:500])
    (folder / "d.png").write_text("not an image")
    (folder / "notes.txt").write_text("not listed")
    done = predict(folder, code=1)
    masks = tmp_path / "out" / "masks"
    assert sorted(path.relative_to(masks).as_posix() for path in masks.rglob("*.png")) == ["b.png", "day 1/a.png"]
    assert "c.jpg is not a complete image" in done.output.replace("\n", " ")
    assert "2 of 4 images were skipped" in done.output


def test_predict_of_a_folder_with_an_unreadable_subfolder_is_refused(
    predict: Callable[..., Result], deny_reading: Callable[[Path], None], tmp_path: Path
) -> None:
    save(create_image(), tmp_path / "photos" / "a.png")
    save(create_image(), tmp_path / "photos" / "day2" / "b.png")
    deny_reading(tmp_path / "photos" / "day2")
    assert "photos/day2: Permission denied" in predict(tmp_path / "photos", code=1).output.replace("\n", "")
    assert not (tmp_path / "out").exists()


def test_predict_reports_links_to_folders_broken_links_and_other_formats(
    predict: Callable[..., Result], tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    save(create_image(), folder / "a.png")
    save(create_image(), tmp_path / "elsewhere" / "b.png")
    (folder / "day2").symlink_to(tmp_path / "elsewhere")
    (folder / "linked.png").symlink_to(tmp_path / "elsewhere" / "b.png")
    (folder / "broken.png").symlink_to(tmp_path / "missing.png")
    (folder / "c.heic").write_bytes(b"")
    (folder / "d.zarr").mkdir()
    (folder / "d.zarr" / "0").write_bytes(b"")
    (folder / ".hidden").write_bytes(b"")
    lines = predict(folder, code=1).output.splitlines()
    assert sorted(path.name for path in (tmp_path / "out" / "masks").iterdir()) == ["a.png", "linked.png"]
    (links,) = (line for line in lines if "1 link to a folder is" in line)
    (broken,) = (line for line in lines if "1 path is a link to a missing file" in line)
    (others,) = (line for line in lines if "2 files are in formats" in line)
    assert f"{folder / 'day2'}." in links
    assert f"{folder / 'broken.png'}." in broken
    assert f"{folder / 'c.heic'}, {folder / 'd.zarr'}." in others
    assert "1 of 3 images were skipped and 1 link to a folder was not followed" in lines[-1]


def test_predict_of_a_folder_with_notes_succeeds(predict: Callable[..., Result], tmp_path: Path) -> None:
    save(create_image(), tmp_path / "photos" / "a.png")
    (tmp_path / "photos" / "README.txt").write_text("not an image")
    (tmp_path / "photos" / "LICENSE").symlink_to(tmp_path / "missing")  # no image either
    assert "README.txt" in predict(tmp_path / "photos").output


def test_predict_with_equal_stems_writes_two_masks(predict: Callable[..., Result], tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    save(create_image(), folder / "a.png")
    save(create_image(30, 40), folder / "a.jpg")
    predict(folder)
    masks = tmp_path / "out" / "masks"
    assert read_labels(masks / "a.png.png").shape == (90, 150)
    assert read_labels(masks / "a.jpg.png").shape == (40, 30)


def test_predict_escapes_formulas_and_invalid_file_names(predict: Callable[..., Result], tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    content = save(create_image(), folder / "=1+1.png").read_bytes()
    (folder / os.fsdecode(b"caf\xe9 [red].png")).write_bytes(content)
    predict(folder)
    assert len(list((tmp_path / "out" / "masks").iterdir())) == 2
    files = [row["file"] for row in read_table(tmp_path / "out" / "shares.csv")]
    assert sorted(Path(file).name for file in files) == ["=1+1.png", "caf\\udce9 [red].png"]


def test_predict_does_not_overwrite_images(predict: Callable[..., Result], tmp_path: Path) -> None:
    image = save(create_image(), tmp_path / "out" / "masks" / "a.png")
    before = image.read_bytes()
    assert "would overwrite" in predict(image, code=1).output
    assert image.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "file"),
    [
        ([], "masks/a.png"),
        (["--format", "tiff"], "labels/a.tif"),
        (["--format", "coco"], "coco.json"),
        (["--format", "labelme"], "labelme/a.json"),
        (["--overlay"], "overlays/a.jpg"),
        (["--foreground"], "foreground/a.png"),
        (["--objects"], "objects/a.tif"),
        (["--objects"], "objects.csv"),
        (["--rank-by-uncertainty"], "uncertainty.csv"),
        ([], "shares.csv"),
    ],
)
def test_predict_does_not_replace_files_of_the_user(
    options: list[str], file: str, predict: Callable[..., Result], tmp_path: Path
) -> None:
    image, other = (save(create_image(), tmp_path / "cells/images" / name) for name in ("a.png", "b.png"))
    out, own = tmp_path / "cells", tmp_path / "cells" / file
    if own.parent != out:  # results of other images in the same folder
        predict(*options, other, "--out", out)
    own.parent.mkdir(exist_ok=True)
    own.write_bytes(b"own")
    before = sorted(out.rglob("*"))
    output = predict(*options, image, "--out", out, code=1).output
    assert f"files that no earlier `pipeline predict` wrote: {own}. Choose another folder, or move" in output
    assert own.read_bytes() == b"own"
    assert sorted(out.rglob("*")) == before


def test_predict_leaves_files_alone_that_it_would_not_write(predict: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "out/overlays").mkdir(parents=True)
    (tmp_path / "out/overlays/a.jpg").write_bytes(b"own")
    image = save(create_image(), tmp_path / "a.png")
    predict(image)
    assert "overlays/a.jpg" in predict(image, "--overlay", code=1).output
    assert (tmp_path / "out/overlays/a.jpg").read_bytes() == b"own"


def test_predict_replaces_results_of_an_interrupted_prediction(
    predict: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "photos"
    save(create_image(), folder / "a.png")
    save(create_image(), folder / os.fsdecode(b"caf\xe9.png"))
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.predict.predict_images.write_table", Mock(side_effect=PipelineError("interrupted")))
        predict(folder, code=1)
    save(create_image(30, 40), folder / "a.png")
    predict(folder, "--overlay")
    assert read_labels(tmp_path / "out/masks/a.png").shape == (40, 30)
    predict(folder)


def test_predict_does_not_replace_results_that_the_user_corrected(
    predict: Callable[..., Result], tmp_path: Path
) -> None:
    image, other = (save(create_image(), tmp_path / name) for name in ("a.png", "b.png"))
    predict(image, other)
    corrected = tmp_path / "out/masks/a.png"
    corrected.write_bytes(b"corrected")
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    output = predict(image, other, code=1).output
    assert f"were changed after `pipeline predict` wrote them: {corrected}. Choose another folder" in output
    assert before == {path: path.read_bytes() for path in before}
    predict(other)  # replaces its own mask, and the table
    predict(image, code=1)
    corrected.unlink()
    predict(image, other)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), PipelineError("stopped")])
def test_predict_keeps_results_of_an_interrupted_prediction_that_the_user_corrected(
    error: BaseException, predict: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, other = (save(create_image(), tmp_path / name) for name in ("a.png", "b.png"))
    corrected = tmp_path / "out/masks/a.png"

    def stop(*_: object) -> None:
        (tmp_path / "out/masks/b.png").unlink()
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.predict.predict_images.write_table", stop)
        predict(image, other, code=1)
    predict(other)
    corrected.write_bytes(b"corrected")
    assert f"wrote them: {corrected}. Choose another folder" in predict(image, other, code=1).output
    assert corrected.read_bytes() == b"corrected"


def test_predict_does_not_replace_a_mask_drawn_for_an_image_that_was_skipped(
    predict: Callable[..., Result], tmp_path: Path
) -> None:
    image, broken = save(create_image(), tmp_path / "a.png"), tmp_path / "b.png"
    broken.write_bytes(image.read_bytes()[:200])
    predict(image, broken, code=1)
    own = tmp_path / "out/masks/b.png"
    own.write_bytes(b"own")
    assert f"no earlier `pipeline predict` wrote: {own}" in predict(image, broken, code=1).output


@pytest.mark.parametrize("content", ["{", '["masks/a.png"]', '{"masks/a.png": 1}'])
def test_predict_with_a_broken_list_of_results_is_refused(
    content: str, predict: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/.predicted_files.json").write_text(content)
    output = predict(save(create_image(), tmp_path / "a.png"), code=1).output
    assert f"--out: {tmp_path / 'out/.predicted_files.json'} " in output
    assert f"Choose another folder, or delete {tmp_path / 'out'} if you do not need any file in it." in output


def test_predict_does_not_segment_its_results(predict: Callable[..., Result], tmp_path: Path) -> None:
    save(create_image(), tmp_path / "a.png")
    predict(tmp_path)
    assert "1 mask by" in predict(tmp_path).output


def test_predict_of_a_thousand_images(predict: Callable[..., Result], tmp_path: Path) -> None:
    buffer = io.BytesIO()
    create_image(40, 30).save(buffer, "PNG")
    (tmp_path / "many").mkdir()
    for number in range(1_000):
        (tmp_path / "many" / f"{number:04}.png").write_bytes(buffer.getvalue())
    done = predict(tmp_path / "many")
    assert "and 980 more" in done.output
    assert len(list((tmp_path / "out" / "masks").iterdir())) == 1_000


@pytest.mark.parametrize(
    ("arguments", "message"), [(["--run", "missing"], "run.json is missing"), (["--run", "../x"], "is a path")]
)
def test_predict_with_an_unknown_run_is_refused(
    arguments: list[str], message: str, predict: Callable[..., Result], tmp_path: Path
) -> None:
    assert message in predict(*arguments, save(create_image(), tmp_path / "a.png"), code=1).output


def test_results_are_in_a_folder_above_that_of_the_images(
    predict: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.png", "day2/b.png"):
        save(create_image(), tmp_path / "new" / name)
    for _ in range(2):
        predict(tmp_path / "new", "--out", tmp_path)
        assert [row["file"] for row in read_table(tmp_path / "shares.csv")] == [
            str(tmp_path / "new" / name) for name in ("a.png", "day2/b.png")
        ]
    assert (tmp_path / "masks/day2/b.png").exists()


def test_predict_into_the_folder_of_the_images_is_refused(predict: Callable[..., Result], tmp_path: Path) -> None:
    save(create_image(), tmp_path / "new/a.png")
    output = predict(tmp_path / "new", "--out", tmp_path / "new", code=1).output
    assert f"--out: {tmp_path / 'new'} is the folder of the images" in output


def test_predict_of_a_folder_without_images_is_refused(predict: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "day2").symlink_to(tmp_path)
    output = predict(tmp_path / "empty", code=1).output
    assert "no image found" in output
    assert "1 link to a folder" in output
