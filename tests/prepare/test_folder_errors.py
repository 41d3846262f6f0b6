"""Invalid files of a folder: reported together, before anything is written."""

import re

import numpy as np
import pytest
from PIL import Image

from tests.prepare.conftest import MASK, NAMES, create_image


def test_all_errors_of_a_folder_are_reported_together(cells, get_prepare_error):
    (cells / "masks/cell1.png").unlink()
    (cells / "images/cell2.png").unlink()
    (cells / "images/cell3.png").write_bytes((cells / "images/cell3.png").read_bytes()[:200])
    Image.fromarray(MASK[:, :10]).save(cells / "masks/cell4.png")
    for name in ("cell5", "cell6"):
        Image.fromarray(np.where(MASK == 2, 7, MASK).astype(np.uint8)).save(cells / "masks" / f"{name}.png")
    create_image().save(cells / "images/cell8.jpg")
    (cells / "masks/cell9.txt").write_text("not an image")
    (cells / "masks/cell9.png").write_bytes(b"not an image")
    lines = get_prepare_error(cells).splitlines()
    for line, message in zip(
        lines,
        [
            r"1 image without a mask: images/cell1.png\. Add",
            r"1 mask without an image: masks/cell2.png\. Add",
            r"1 name that is shared by several files: images/cell8.jpg and images/cell8.png\. ",
            r"2 files that cannot be used: images/cell3.png \(is not a complete .*\), masks/cell9.png \(is not in one",
            r"1 mask with a different size than its image: masks/cell4.png \(10 × 16, but the image is 24 × 16\)\. ",
            r"2 masks with values that .*, 7 \(192 pixels\): masks/cell5.png, masks/cell6.png\. Write mask_value: 7",
            r"To skip invalid files, write data.on_invalid: skip",
        ],
        strict=True,
    ):
        assert re.search(message, line), line
        assert line.startswith("data.path: ")


def test_invalid_images_are_reported_together(cells, get_prepare_error):
    for name in ("cell9", "cell10", "cell11"):
        (cells / "images" / f"{name}.png").write_bytes(b"")
    assert "3 files that cannot be used" in get_prepare_error(cells)


def test_unreadable_subfolder_is_an_error(cells, run, deny_reading):
    (cells / "images/day2").mkdir()
    deny_reading(cells / "images/day2")
    with pytest.raises(PermissionError, match="images/day2"):
        run(cells)


def test_at_most_ten_files_are_named(cells, get_prepare_error):
    for name in NAMES[:11]:
        (cells / "masks" / f"{name}.png").unlink()
    message = get_prepare_error(cells)
    assert "11 images without a mask" in message
    assert message.count("images/cell") == 10
    assert "and 1 more" in message


def test_stacks_and_float_images_are_refused(cells, get_prepare_error):
    for name in ("cell0", "cell1"):
        (cells / "images" / f"{name}.png").unlink()
    create_image().save(cells / "images/cell0.tif", save_all=True, append_images=[create_image(1)])
    Image.fromarray(np.zeros((16, 24), np.float32)).save(cells / "images/cell1.tif")
    message = get_prepare_error(cells)
    assert "images/cell0.tif (contains 2 images; save one per file, or set data.slices" in message
    assert "images/cell1.tif (has 32-bit pixels" in message


def test_unsupported_format_is_refused_with_any_suffix(cells, get_prepare_error):
    create_image().save(cells / "images/cell0.png", format="GIF")
    assert "images/cell0.png (is not in one of the formats PNG, JPEG, WEBP, BMP, TIFF)" in get_prepare_error(cells)


def test_very_large_images_are_refused(cells, get_prepare_error, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert "is too large to be decoded (at most 200 pixels)" in get_prepare_error(cells)


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_missing_empty_and_linked_folders_are_refused(cells, get_prepare_error, tmp_path, kind):
    (cells / kind).rename(tmp_path / kind)
    assert f"the folder {cells / kind} does not exist" in get_prepare_error(cells)
    (cells / kind).mkdir()
    assert f"{cells} contains no files that match '{kind}/**/*'" in get_prepare_error(cells)
    (cells / kind).rmdir()
    (cells / kind).symlink_to(tmp_path / kind)
    assert f"{cells / kind} is a link" in get_prepare_error(cells)
    (cells / kind).unlink()
    (tmp_path / kind).rename(cells / kind)
    (cells / kind / "more").symlink_to(tmp_path)
    assert f"{cells / kind / 'more'} is a link" in get_prepare_error(cells)


@pytest.mark.parametrize(
    ("name", "is_dicom"),
    [("hand.dcm", True), ("HAND.DCM", True), ("hand.dicom", True), ("hand.IMA", True), ("scan.nii.gz", False)],
)
def test_volumes_in_place_of_images_are_named_with_advice(cells, get_prepare_error, name, is_dicom):
    for path in (cells / "images").iterdir():
        path.unlink()
    (cells / "images" / name).write_bytes(b"")
    message = get_prepare_error(cells)
    assert f"For volumes such as images/{name}, write data.slices" in message
    assert ("X-rays" in message) is is_dicom
