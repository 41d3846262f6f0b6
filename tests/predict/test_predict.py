"""`pipeline predict`: segment any images with a trained run, into masks of their sizes."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from pipeline.artifacts.evaluation_folder import EvaluationFolder
from pipeline.artifacts.prepared_data import SHOWCASE, PreparedData
from pipeline.artifacts.project import EVALUATION, PREPARED
from pipeline.cli import main
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


def scene(width: int = 150, height: int = 90) -> Image.Image:
    """Light from left to right, so that a turned picture is another one."""
    columns = np.linspace(0, 255, width).astype(np.uint8)
    return Image.fromarray(np.broadcast_to(columns[None, :, None], (height, width, 3)).copy())


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


def opened(path: Path) -> Image.Image:
    return Image.open(io.BytesIO(path.read_bytes()))


def labels(path: Path) -> np.ndarray:
    return np.asarray(opened(path))


def save(image: Image.Image, path: Path, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def test_predict_writes_mask_overlay_and_foreground(predict: Callable[..., Result], tmp_path: Path) -> None:
    photo = save(scene(), tmp_path / "photo.jpg")
    done = predict("--overlay", "--foreground", photo)
    out = tmp_path / "out"
    assert opened(out / "masks" / "photo.png").mode == "P"  # in colour for the eye, indices for programs
    assert labels(out / "masks" / "photo.png").shape == (90, 150)
    assert opened(out / "overlays" / "photo.jpg").size == (150, 90)
    foreground = opened(out / "foreground" / "photo.png")
    assert (foreground.mode, foreground.size) == ("RGBA", (150, 90))
    (row,) = table(out / "shares.csv")
    shares = {name.removeprefix("share_"): float(share) for name, share in row.items() if name.startswith("share_")}
    counted = np.bincount(labels(out / "masks" / "photo.png").ravel(), minlength=len(shares)) / (90 * 150)
    assert list(shares.values()) == pytest.approx(counted, abs=1e-6)
    assert "by unet-0.01-0" in done.output
    assert f"{out / 'shares.csv'} has the shares of all classes" in done.output


def test_predict_first_prints_the_training_data(predict: Callable[..., Result], trained: Path, tmp_path: Path) -> None:
    photo = save(scene(), tmp_path / "photo.jpg")
    said = predict(photo).output.splitlines()
    title = "Cut-out animals over photographs"
    expected = f'{TRAINED} was trained on "{title}": 12 images of 32 x 32 px; classes: animal, background, border'
    assert said[0] == expected
    assert said[1].startswith("Photographs differ from these composites")
    assert "pipeline init FOLDER" in said[1]
    assert "make report SET=composites" in said[1]


def test_predict_gives_the_mask_of_the_evaluation(
    predict: Callable[..., Result], trained: Path, tmp_path: Path
) -> None:
    images = np.load(trained / PREPARED / SHOWCASE / PreparedData.IMAGES)
    kept = sorted((trained / EVALUATION / TRAINED / EvaluationFolder.EXAMPLES).glob("*.png"))
    rows = table(trained / PREPARED / PreparedData.SAMPLES)
    shown = next(row["id"] for row in rows if row["split"] == SHOWCASE)
    (evaluated,) = [path for path in kept if path.stem == shown]
    predict(save(Image.fromarray(images[0]), tmp_path / "showcase.png"))
    same = labels(tmp_path / "out" / "masks" / "showcase.png") == labels(evaluated)
    assert same.mean() > 0.999  # the rounding of a batch of another size may tip a pixel


KINDS: dict[str, tuple[str, Callable[[], Image.Image]]] = {
    "16 bits": ("x.png", lambda: Image.fromarray(np.asarray(scene().convert("L")).astype(np.uint16) * 257)),
    "grey": ("x.png", lambda: scene().convert("L")),
    "palette": ("x.png", lambda: scene().convert("P")),
    "one bit": ("x.png", lambda: scene().convert("1")),
    "alpha": ("x.png", lambda: scene().convert("RGBA")),
    "grey with alpha": ("x.png", lambda: scene().convert("LA")),
    "CMYK": ("x.jpg", lambda: scene().convert("CMYK")),
    "TIFF": ("x.tif", lambda: scene()),
    "one pixel": ("x.png", lambda: scene(1, 1)),
    "thin": ("x.png", lambda: scene(900, 2)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_predict_of_any_kind_of_image(kind: str, predict: Callable[..., Result], tmp_path: Path) -> None:
    name, make = KINDS[kind]
    picture = make()
    predict("--overlay", "--foreground", save(picture, tmp_path / name))
    assert labels(tmp_path / "out" / "masks" / "x.png").shape == (picture.height, picture.width)


def test_predict_of_a_turned_image_is_upright(predict: Callable[..., Result], tmp_path: Path) -> None:
    upright = save(scene(), tmp_path / "upright.png")
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # to be turned by 90 degrees clockwise
    turned = save(scene().transpose(Image.Transpose.ROTATE_90), tmp_path / "turned.png", exif=exif)
    predict(upright, turned)
    masks = tmp_path / "out" / "masks"
    assert (labels(masks / "upright.png") == labels(masks / "turned.png")).all()


def test_predict_with_broken_files_reports_and_skips_them(predict: Callable[..., Result], tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    save(scene(), folder / "day 1" / "a.png")
    save(scene(), folder / "b.jpg")
    (folder / "c.jpg").write_bytes((folder / "b.jpg").read_bytes()[:500])
    (folder / "d.png").write_text("no picture")
    (folder / "notes.txt").write_text("not meant")
    done = predict(folder, code=1)
    masks = tmp_path / "out" / "masks"
    assert sorted(path.relative_to(masks).as_posix() for path in masks.rglob("*.png")) == ["b.png", "day 1/a.png"]
    assert "c.jpg is not a complete image" in done.output.replace("\n", " ")
    assert "2 of 4 images were skipped" in done.output


def test_predict_of_two_images_with_one_name_writes_two_masks(predict: Callable[..., Result], tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    save(scene(), folder / "a.png")
    save(scene(30, 40), folder / "a.jpg")
    predict(folder)
    masks = tmp_path / "out" / "masks"
    assert labels(masks / "a.png.png").shape == (90, 150)
    assert labels(masks / "a.jpg.png").shape == (40, 30)


def test_predict_of_names_that_are_invalid_or_formulas_escapes_them(
    predict: Callable[..., Result], tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    content = save(scene(), folder / "=1+1.png").read_bytes()
    (folder / os.fsdecode(b"caf\xe9 [red].png")).write_bytes(content)
    predict(folder)
    assert len(list((tmp_path / "out" / "masks").iterdir())) == 2
    files = [row["file"] for row in table(tmp_path / "out" / "shares.csv")]
    assert sorted(Path(file).name for file in files) == ["=1+1.png", "caf\\udce9 [red].png"]


def test_predict_does_not_overwrite_images(predict: Callable[..., Result], tmp_path: Path) -> None:
    picture = save(scene(), tmp_path / "out" / "masks" / "a.png")
    before = picture.read_bytes()
    assert "would overwrite" in predict(picture, code=1).output
    assert picture.read_bytes() == before


def test_predict_does_not_segment_its_results(predict: Callable[..., Result], tmp_path: Path) -> None:
    save(scene(), tmp_path / "a.png")
    predict(tmp_path)
    assert "1 mask by" in predict(tmp_path).output


def test_predict_of_a_thousand_images(predict: Callable[..., Result], tmp_path: Path) -> None:
    buffer = io.BytesIO()
    scene(40, 30).save(buffer, "PNG")
    (tmp_path / "many").mkdir()
    for number in range(1_000):
        (tmp_path / "many" / f"{number:04}.png").write_bytes(buffer.getvalue())
    done = predict(tmp_path / "many")
    assert "and 980 more" in done.output
    assert len(list((tmp_path / "out" / "masks").iterdir())) == 1_000


@pytest.mark.parametrize(
    ("arguments", "said"), [(["--run", "nobody"], "run.json is missing"), (["--run", "../x"], "is a path")]
)
def test_predict_with_an_unknown_run_is_refused(
    arguments: list[str], said: str, predict: Callable[..., Result], tmp_path: Path
) -> None:
    assert said in predict(*arguments, save(scene(), tmp_path / "a.png"), code=1).output


def test_predict_of_a_folder_without_images_is_refused(predict: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "no image found" in predict(tmp_path / "empty", code=1).output
