"""A folder of the user's own: small generated pictures, and real ones where they lie beside the repository."""

import csv
import hashlib

import numpy as np
import pytest
from PIL import Image

from pipeline.artifacts.prepared_data import SHOWCASE, SPLITS, PreparedData
from pipeline.imaging import IGNORE
from tests.conftest import ROOT
from tests.prepare.conftest import NAMES, SPLIT_BY_NAME, WHOLE, picture, shown, table, write_splits

PETS = ROOT.parent / "shared/data/oxford-pets-mini"


def test_arrays_table_and_classes(cells, run):
    prepared = run(cells)
    rows = table(prepared)
    assert {name: row["split"] for name, row in rows.items()} == {**SPLIT_BY_NAME, "cell0": SHOWCASE}
    masks = np.load(prepared / "test" / PreparedData.MASKS)
    np.testing.assert_array_equal(masks, np.broadcast_to(np.kron([[1, 0], [0, 2]], np.ones((8, 8))), masks.shape))
    images = np.load(prepared / "test" / PreparedData.IMAGES)
    first = min(name for name, split in SPLIT_BY_NAME.items() if split == "test")
    resized = picture(NAMES.index(first)).resize((16, 16), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(images[0], np.asarray(resized))
    content = [(cells / kind / f"{first}.png").read_bytes() for kind in ("images", "masks")]
    assert rows[first]["sha256"] == hashlib.sha256(b"".join(content)).hexdigest()
    assert (rows[first]["height"], rows[first]["width"], rows[first]["groups"]) == ("16", "24", "")
    data = PreparedData(prepared).dataset
    assert (data.source, data.title) == ("image_mask_folder", "The images in cells")
    assert [(c.name, c.foreground, c.is_boundary) for c in data.classes] == [
        ("cell", True, False),
        ("ground", False, False),
        ("wall", False, True),
    ]


def test_same_files_same_bytes(cells, run):
    def content(folder):
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    first = content(run(cells))
    assert content(run(cells)) == first


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "CMYK", "LA"])
def test_every_kind_of_image_becomes_rgb(cells, run, mode):
    image = picture().convert(mode)
    (cells / "images/cell0.png").unlink()
    image.save(cells / "images/cell0.tif")
    prepared, _ = shown(run(cells))
    resized = image.convert("RGB").resize((16, 16), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(prepared, np.asarray(resized))


def test_what_is_transparent_is_black_whatever_lies_under_it(cells, run):
    pixels = np.full((16, 24, 4), 200, np.uint8)
    pixels[..., 3] = 255
    pixels[:, :12, 3] = 0
    Image.fromarray(pixels).save(cells / "images/cell0.png")
    prepared, _ = shown(run(cells))
    assert (prepared[:, :4] == 0).all()
    assert (prepared[:, -4:] == 200).all()


def deep(index):
    return np.random.default_rng(index).integers(0, 65_536, (16, 16), np.uint16)


def write_deep(folder, names, ending="png"):
    for index, name in enumerate(names):
        values = deep(index)
        (folder / "images" / f"{name}.png").unlink(missing_ok=True)
        Image.fromarray(values).save(folder / "images" / f"{name}.{ending}")
        Image.fromarray(np.ascontiguousarray(WHOLE[:, 4:20])).save(folder / "masks" / f"{name}.png")


@pytest.mark.parametrize("ending", ["png", "tiff"])
def test_16_bit_grey_keeps_its_bits(cells, run, ending):
    write_deep(cells, NAMES, ending)
    prepared, _ = shown(run(cells))
    assert prepared.dtype == np.uint16
    np.testing.assert_array_equal(prepared, deep(0)[..., None])


def test_16_bit_grey_must_be_all_or_none(cells, refused):
    write_deep(cells, ["cell3", "cell7"])
    said = refused(cells)
    assert "2 images of another kind than the first one: " in said
    for name in ("cell3", "cell7"):
        assert f"images/{name}.png (16 bits, 1 channel, but images/cell0.png 8 bits, 3 channels)" in said


def test_exif_turns_images_and_masks(cells, run):
    upright, mask = picture(50), Image.fromarray(WHOLE)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    upright.transpose(Image.Transpose.ROTATE_90).save(cells / "images/cell0.png", exif=exif)
    mask.transpose(Image.Transpose.ROTATE_90).save(cells / "masks/cell0.png", exif=exif)
    prepared = run(cells)
    image, indices = shown(prepared)
    np.testing.assert_array_equal(image, np.asarray(upright.resize((16, 16), Image.Resampling.LANCZOS)))
    np.testing.assert_array_equal(indices, np.kron([[1, 0], [0, 2]], np.ones((8, 8))))
    assert (table(prepared)["cell0"]["height"], table(prepared)["cell0"]["width"]) == ("16", "24")


@pytest.mark.parametrize("upright", [False, True])
def test_padding_keeps_the_aspect_and_reflects_around_what_counts(cells, run, upright):
    def turned(image):
        return image.transpose(Image.Transpose.TRANSPOSE) if upright else image

    for index, name in enumerate(NAMES):
        turned(picture(index)).save(cells / "images" / f"{name}.png")
        turned(Image.fromarray(WHOLE)).save(cells / "masks" / f"{name}.png")
    image, mask = shown(run(cells, resize="letterbox", image_size=48))
    inner = np.asarray(turned(picture()).resize((32, 48) if upright else (48, 32), Image.Resampling.LANCZOS))
    if upright:
        image, mask, inner = image.transpose(1, 0, 2), mask.T, inner.transpose(1, 0, 2)
    np.testing.assert_array_equal(mask[8:40], np.kron([[1, 0], [0, 2]], np.ones((16, 24))))
    assert (mask[:8] == IGNORE).all()
    assert (mask[40:] == IGNORE).all()
    np.testing.assert_array_equal(image[8:40], inner)
    np.testing.assert_array_equal(image[:8], inner[8:0:-1])
    np.testing.assert_array_equal(image[40:], inner[-2:-10:-1])


def test_very_long_pictures_are_padded_too(cells, run):
    picture(shape=(1, 300)).save(cells / "images/cell0.png")
    Image.fromarray(np.ones((1, 300), np.uint8)).save(cells / "masks/cell0.png")
    _, mask = shown(run(cells, resize="letterbox"))
    assert (mask != IGNORE).sum() == 16


def test_nested_folders_any_case_of_endings_and_hidden_files(cells, run):
    for kind, ending in (("images", "JPEG"), ("masks", "PNG")):
        (cells / kind / "day 1").mkdir()
        (cells / kind / "cell0.png").rename(cells / kind / f"day 1/cell0.{ending}")
        (cells / kind / "._cell1.png").write_bytes(b"what macOS leaves behind")
        (cells / kind / "Thumbs.db").touch()
    rows = [f"{name},{split}" for name, split in SPLIT_BY_NAME.items()]
    write_splits(cells, [*rows, "day 1/cell0,train"])
    prepared = run(cells, showcase_ids=["day 1/cell0"])
    assert set(table(prepared)) == {*SPLIT_BY_NAME, "day 1__cell0"}
    assert (prepared / PreparedData.SKIPPED).read_text(encoding="utf-8").splitlines()[1:] == [
        "images/Thumbs.db,files ending in .db are not read",
        "masks/Thumbs.db,files ending in .db are not read",
    ]


def test_real_trimaps(run, tmp_path):
    if not PETS.is_dir():
        pytest.skip("oxford-pets-mini does not lie beside the repository")
    with (PETS / "index.csv").open(encoding="utf-8", newline="") as file:
        index = list(csv.DictReader(file))
    chosen = [row for split in ("trainval", "test") for row in [r for r in index if r["split"] == split][::25][:12]]
    folder = tmp_path / "pets"
    of_name = {row["name"]: "test" if row["split"] == "test" else "train" for row in chosen}
    of_name.update(dict.fromkeys(list(of_name)[2:12:3], "validation"))
    for kind, ending in (("images", "jpg"), ("masks", "png")):
        (folder / kind).mkdir(parents=True)
        for name in of_name:
            (folder / kind / f"{name}.{ending}").symlink_to(PETS / kind / f"{name}.{ending}")
    write_splits(folder, [f"{name},{split}" for name, split in of_name.items()])
    classes = [
        {"name": "pet", "color": "#e69f00", "foreground": True, "mask_value": 1},
        {"name": "background", "color": "#0072b2", "foreground": False, "mask_value": 2},
        {"name": "border", "color": "#f0e442", "foreground": False, "is_boundary": True, "mask_value": 3},
    ]
    shown_first = chosen[0]["name"]
    prepared = run(folder, classes=classes, image_size=64, resize="letterbox", showcase_ids=[shown_first])
    rows = table(prepared)
    assert {name: row["split"] for name, row in rows.items()} == {**of_name, shown_first: SHOWCASE}
    assert [item.name for item in PreparedData(prepared).dataset.classes] == ["pet", "background", "border"]
    for split in (*SPLITS, SHOWCASE):
        names = sorted(name for name, row in rows.items() if row["split"] == split)
        images, masks = (np.load(prepared / split / file) for file in (PreparedData.IMAGES, PreparedData.MASKS))
        assert (images.shape, images.dtype) == ((len(names), 64, 64, 3), np.uint8)
        assert set(np.unique(masks)) == {0, 1, 2, IGNORE}
        for name, mask in zip(names, masks, strict=True):
            with Image.open(PETS / "masks" / f"{name}.png") as file:
                trimap = np.asarray(file)
            counted = mask[mask != IGNORE]
            for place, value in enumerate((1, 2, 3)):
                assert (counted == place).mean() == pytest.approx((trimap == value).mean(), abs=0.03)
