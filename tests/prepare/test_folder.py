"""A folder of images and masks as a source: generated images, and real ones if they are next to the repository."""

import csv
import hashlib

import numpy as np
import pytest
from PIL import Image

from pipeline.artifacts.prepared_data import SHOWCASE, SPLITS, PreparedData
from pipeline.imaging import IGNORE
from tests.conftest import ROOT
from tests.prepare.conftest import MASK, NAMES, SPLIT_BY_NAME, create_image, load_showcase, read_samples, write_splits

PETS = ROOT.parent / "shared/data/oxford-pets-mini"


def test_prepare_writes_arrays_table_and_classes(cells, run):
    prepared = run(cells)
    rows = read_samples(prepared)
    assert {name: row["split"] for name, row in rows.items()} == {**SPLIT_BY_NAME, "cell0": SHOWCASE}
    masks = np.load(prepared / "test" / PreparedData.MASKS)
    np.testing.assert_array_equal(masks, np.broadcast_to(np.kron([[1, 0], [0, 2]], np.ones((8, 8))), masks.shape))
    images = np.load(prepared / "test" / PreparedData.IMAGES)
    first = min(name for name, split in SPLIT_BY_NAME.items() if split == "test")
    resized = create_image(NAMES.index(first)).resize((16, 16), Image.Resampling.LANCZOS)
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


def test_prepare_twice_writes_the_same_bytes(cells, run):
    def read_files(folder):
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    first = read_files(run(cells))
    assert read_files(run(cells)) == first


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "CMYK", "LA"])
def test_images_of_any_mode_become_rgb(cells, run, mode):
    image = create_image().convert(mode)
    (cells / "images/cell0.png").unlink()
    image.save(cells / "images/cell0.tif")
    prepared, _ = load_showcase(run(cells))
    resized = image.convert("RGB").resize((16, 16), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(prepared, np.asarray(resized))


def test_transparent_pixels_become_black(cells, run):
    pixels = np.full((16, 24, 4), 200, np.uint8)
    pixels[..., 3] = 255
    pixels[:, :12, 3] = 0
    Image.fromarray(pixels).save(cells / "images/cell0.png")
    prepared, _ = load_showcase(run(cells))
    assert (prepared[:, :4] == 0).all()
    assert (prepared[:, -4:] == 200).all()


def create_16_bit_pixels(index):
    return np.random.default_rng(index).integers(0, 65_536, (16, 16), np.uint16)


def write_16_bit_images(folder, names, suffix="png"):
    for index, name in enumerate(names):
        values = create_16_bit_pixels(index)
        (folder / "images" / f"{name}.png").unlink(missing_ok=True)
        Image.fromarray(values).save(folder / "images" / f"{name}.{suffix}")
        Image.fromarray(np.ascontiguousarray(MASK[:, 4:20])).save(folder / "masks" / f"{name}.png")


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_16_bit_gray_images_keep_their_bits(cells, run, suffix):
    write_16_bit_images(cells, NAMES, suffix)
    prepared, _ = load_showcase(run(cells))
    assert prepared.dtype == np.uint16
    np.testing.assert_array_equal(prepared, create_16_bit_pixels(0)[..., None])


def test_mixed_8_and_16_bit_images_are_refused(cells, get_prepare_error):
    write_16_bit_images(cells, ["cell3", "cell7"])
    message = get_prepare_error(cells)
    assert "2 images with a different number of channels or bits than the first image: " in message
    for name in ("cell3", "cell7"):
        assert f"images/{name}.png (16 bits, 1 channel, but images/cell0.png has 8 bits, 3 channels)" in message


def test_exif_orientation_is_applied_to_images_and_masks(cells, run):
    upright, mask = create_image(50), Image.fromarray(MASK)
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise
    upright.transpose(Image.Transpose.ROTATE_90).save(cells / "images/cell0.png", exif=exif)
    mask.transpose(Image.Transpose.ROTATE_90).save(cells / "masks/cell0.png", exif=exif)
    prepared = run(cells)
    image, indices = load_showcase(prepared)
    np.testing.assert_array_equal(image, np.asarray(upright.resize((16, 16), Image.Resampling.LANCZOS)))
    np.testing.assert_array_equal(indices, np.kron([[1, 0], [0, 2]], np.ones((8, 8))))
    assert (read_samples(prepared)["cell0"]["height"], read_samples(prepared)["cell0"]["width"]) == ("16", "24")


@pytest.mark.parametrize("upright", [False, True])
def test_letterbox_keeps_the_aspect_ratio_and_reflects_at_the_edges(cells, run, upright):
    def rotate(image):
        return image.transpose(Image.Transpose.TRANSPOSE) if upright else image

    for index, name in enumerate(NAMES):
        rotate(create_image(index)).save(cells / "images" / f"{name}.png")
        rotate(Image.fromarray(MASK)).save(cells / "masks" / f"{name}.png")
    image, mask = load_showcase(run(cells, resize="letterbox", image_size=48))
    inner = np.asarray(rotate(create_image()).resize((32, 48) if upright else (48, 32), Image.Resampling.LANCZOS))
    if upright:
        image, mask, inner = image.transpose(1, 0, 2), mask.T, inner.transpose(1, 0, 2)
    np.testing.assert_array_equal(mask[8:40], np.kron([[1, 0], [0, 2]], np.ones((16, 24))))
    assert (mask[:8] == IGNORE).all()
    assert (mask[40:] == IGNORE).all()
    np.testing.assert_array_equal(image[8:40], inner)
    np.testing.assert_array_equal(image[:8], inner[8:0:-1])
    np.testing.assert_array_equal(image[40:], inner[-2:-10:-1])


def test_letterbox_of_a_very_long_image_keeps_a_row(cells, run):
    create_image(shape=(1, 300)).save(cells / "images/cell0.png")
    Image.fromarray(np.ones((1, 300), np.uint8)).save(cells / "masks/cell0.png")
    _, mask = load_showcase(run(cells, resize="letterbox"))
    assert (mask != IGNORE).sum() == 16


def test_prepare_reads_nested_folders_and_upper_case_suffixes(cells, run):
    for kind, ending in (("images", "JPEG"), ("masks", "PNG")):
        (cells / kind / "day 1").mkdir()
        (cells / kind / "cell0.png").rename(cells / kind / f"day 1/cell0.{ending}")
        (cells / kind / "._cell1.png").write_bytes(b"as written by macOS")
        (cells / kind / "Thumbs.db").touch()
    rows = [f"{name},{split}" for name, split in SPLIT_BY_NAME.items()]
    write_splits(cells, [*rows, "day 1/cell0,train"])
    prepared = run(cells, showcase_ids=["day 1/cell0"])
    assert set(read_samples(prepared)) == {*SPLIT_BY_NAME, "day 1__cell0"}
    assert (prepared / PreparedData.SKIPPED).read_text(encoding="utf-8").splitlines()[1:] == [
        "images/Thumbs.db,files ending in .db are not read",
        "masks/Thumbs.db,files ending in .db are not read",
    ]


def test_prepare_keeps_class_fractions_of_real_trimaps(run, tmp_path):
    if not PETS.is_dir():
        pytest.skip("oxford-pets-mini is not next to the repository")
    with (PETS / "index.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    selected = [row for split in ("trainval", "test") for row in [r for r in rows if r["split"] == split][::25][:12]]
    folder = tmp_path / "pets"
    split_by_name = {row["name"]: "test" if row["split"] == "test" else "train" for row in selected}
    split_by_name.update(dict.fromkeys(list(split_by_name)[2:12:3], "validation"))
    for kind, ending in (("images", "jpg"), ("masks", "png")):
        (folder / kind).mkdir(parents=True)
        for name in split_by_name:
            (folder / kind / f"{name}.{ending}").symlink_to(PETS / kind / f"{name}.{ending}")
    write_splits(folder, [f"{name},{split}" for name, split in split_by_name.items()])
    classes = [
        {"name": "pet", "color": "#e69f00", "foreground": True, "mask_value": 1},
        {"name": "background", "color": "#0072b2", "foreground": False, "mask_value": 2},
        {"name": "border", "color": "#f0e442", "foreground": False, "is_boundary": True, "mask_value": 3},
    ]
    showcase = selected[0]["name"]
    prepared = run(folder, classes=classes, image_size=64, resize="letterbox", showcase_ids=[showcase])
    rows = read_samples(prepared)
    assert {name: row["split"] for name, row in rows.items()} == {**split_by_name, showcase: SHOWCASE}
    assert [item.name for item in PreparedData(prepared).dataset.classes] == ["pet", "background", "border"]
    for split in (*SPLITS, SHOWCASE):
        names = sorted(name for name, row in rows.items() if row["split"] == split)
        images, masks = (np.load(prepared / split / file) for file in (PreparedData.IMAGES, PreparedData.MASKS))
        assert (images.shape, images.dtype) == ((len(names), 64, 64, 3), np.uint8)
        assert set(np.unique(masks)) == {0, 1, 2, IGNORE}
        for name, mask in zip(names, masks, strict=True):
            with Image.open(PETS / "masks" / f"{name}.png") as file:
                trimap = np.asarray(file)
            evaluated = mask[mask != IGNORE]
            for index, value in enumerate((1, 2, 3)):
                assert (evaluated == index).mean() == pytest.approx((trimap == value).mean(), abs=0.03)
