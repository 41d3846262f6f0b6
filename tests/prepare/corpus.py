"""Invalid and unusual inputs: a change to a valid folder, and the message that `pipeline data check` must print."""

from __future__ import annotations

import os
import shutil
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from tests.prepare.conftest import MASK, NAMES, SECTION, SPLIT_BY_NAME, create_classes, create_image, write_splits

Change = Callable[[Path], object]


@dataclass(frozen=True)
class Case:
    """A change to the `cells` folder and the expected message."""

    name: str
    change: Change
    message: str
    section: dict[str, Any] = field(default_factory=dict)
    is_valid: bool = False


def encode_image(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def replace_image(content: bytes | Callable[[bytes], bytes], name: str = "cell1.png") -> Change:
    """Replace the content of an image; a function gets the old content."""
    return lambda folder: _replace(folder / "images" / name, content)


def replace_mask(content: bytes | Callable[[bytes], bytes], name: str = "cell1.png") -> Change:
    return lambda folder: _replace(folder / "masks" / name, content)


def _replace(path: Path, content: bytes | Callable[[bytes], bytes]) -> None:
    path.write_bytes(content if isinstance(content, bytes) else content(path.read_bytes()))


def rename_pair(name: str | bytes) -> Change:
    """Rename an image and its mask, and remove the list of splits."""

    def change(folder: Path) -> None:
        (folder / "splits.csv").unlink()
        for kind in ("images", "masks"):
            target = folder / kind / f"{os.fsdecode(name)}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            (folder / kind / "cell1.png").rename(target)

    return change


def write_list(*create_rows: str, header: str = "id,split") -> Change:
    return lambda folder: write_splits(folder, create_rows, header)


def create_rows(**changes: str) -> list[str]:
    return [f"{name},{changes.get(name, split)}" for name, split in {"cell0": "train", **SPLIT_BY_NAME}.items()]


def copy_image(name: str, other: str, **options: Any) -> Change:
    """Save an image again as another one, with another size and format."""

    def change(folder: Path) -> None:
        with Image.open(folder / "images" / f"{name}.png") as small:
            large = small.resize((240, 160))
        _resample(large).save(folder / "images" / f"{name}.png")
        (folder / "images" / f"{other}.png").unlink()
        _resample(large).resize((120, 80)).save(folder / "images" / f"{other}.jpg", **options)
        for stem, size in ((name, (240, 160)), (other, (120, 80))):
            Image.fromarray(MASK).resize(size, 0).save(folder / "masks" / f"{stem}.png")

    return change


def _resample(image: Image.Image) -> Image.Image:
    return image.resize(image.size, Image.Resampling.BICUBIC)


def replace_all_images(make: Callable[[int], bytes], suffix: str = "png") -> Change:
    def change(folder: Path) -> None:
        for index, name in enumerate(NAMES):
            (folder / "images" / f"{name}.png").unlink()
            (folder / "images" / f"{name}.{suffix}").write_bytes(make(index))

    return change


def replace_all_masks(make: Callable[[np.ndarray], np.ndarray]) -> Change:
    def change(folder: Path) -> None:
        for name in NAMES:
            Image.fromarray(make(MASK)).save(folder / "masks" / f"{name}.png")

    return change


def encode_empty_png(width: int, height: int) -> bytes:
    """Encode a PNG whose header declares this size, without pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    packed = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def add_text_bomb(content: bytes) -> bytes:
    """Add a comment to a PNG that unpacks to 100 MB."""
    data = b"a\0\0" + zlib.compress(bytes(100_000_000))
    chunk = struct.pack(">I", len(data)) + b"zTXt" + data + struct.pack(">I", zlib.crc32(b"zTXt" + data))
    return content[:33] + chunk + content[33:]


def replace_file(kind: str, make: Callable[[Path], object]) -> Change:
    """Replace a file by something that is not a regular file."""

    def change(folder: Path) -> None:
        path = folder / kind / "cell1.png"
        path.unlink()
        make(path)

    return change


def write_sparse_file(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1_200_000_000)


def encode_palette_mask(colors: tuple[int, ...]) -> bytes:
    mask = Image.fromarray(MASK, "P")
    mask.putpalette(list(colors))
    return encode_image(mask)


def set_orientation(folder: Path, *kinds: str, orientation: int = 6) -> None:
    for kind in kinds:
        path = folder / kind / "cell1.png"
        exif = Image.Exif()
        exif[0x0112] = orientation
        with Image.open(path) as image:
            image.load()
            image.save(path, exif=exif)


DEEP = np.zeros((16, 24), np.uint16)
NO_FILE = "1 file that cannot be used: images/cell1.png (is not a file, but a pipe, a device or a folder)"
NO_IMAGE = "1 file that cannot be used: images/cell1.png (is not in one of the formats PNG, JPEG, WEBP, BMP, TIFF)"
BROKEN = "1 file that cannot be used: images/cell1.png (is not a complete image"
NAME = "2 names that cannot be used: images/"
SPACES = {"splits": {**SECTION["splits"], "group_regex": "^(p[0-9]+)_"}}
JPEG = encode_image(create_image(), "JPEG")

BROKEN_CASES = [
    Case("an empty file", replace_image(b""), NO_IMAGE),
    Case("text", replace_image(b"not an image"), NO_IMAGE),
    Case("a web page", replace_image(b"<!doctype html><title>404</title>"), NO_IMAGE),
    Case("a GIF under another ending", replace_image(encode_image(create_image(), "GIF")), NO_IMAGE),
    Case(
        "PostScript, which Pillow would run",
        replace_image(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
        NO_IMAGE,
    ),
    Case("SVG", replace_image(b'<svg xmlns="http://www.w3.org/2000/svg"/>'), NO_IMAGE),
    Case("a truncated PNG", replace_image(lambda content: content[:200]), BROKEN),
    Case("a truncated JPEG", replace_image(JPEG[: len(JPEG) // 2]), BROKEN),
    Case("a JPEG's header only", replace_image(JPEG[:30]), BROKEN),
    Case(
        "a PNG with a wrong checksum", replace_image(lambda content: content[:45] + b"\xff\xff" + content[47:]), BROKEN
    ),
    Case("a PNG without pixels", replace_image(encode_empty_png(24, 16)), BROKEN),
    Case(
        "a PNG that declares a huge size",
        replace_image(encode_empty_png(100_000, 100_000)),
        "is too large to be decoded (at most 178,956,970 p",
    ),
    Case("a comment that unpacks to 100 MB", replace_image(add_text_bomb), BROKEN),
    Case(
        "two pages",
        replace_image(encode_image(create_image(), "TIFF", save_all=True, append_images=[create_image(1)])),
        "(contains 2 images;",
    ),
    Case(
        "an animated PNG",
        replace_image(encode_image(create_image(), save_all=True, append_images=[create_image(1)])),
        "(contains 2 images; save",
    ),
    Case(
        "an animated WebP",
        replace_image(encode_image(create_image(), "WEBP", save_all=True, append_images=[create_image(1)])),
        "(contains 2 imag",
    ),
    Case(
        "floats",
        replace_image(encode_image(Image.fromarray(DEEP.astype(np.float32)), "TIFF")),
        "(has 32-bit pixels; save it",
    ),
    Case(
        "32 bits",
        replace_image(encode_image(Image.fromarray(DEEP.astype(np.int32)), "TIFF")),
        "(has 32-bit pixels; save it",
    ),
    Case("a named pipe", replace_file("images", os.mkfifo), NO_FILE),
    Case("an endless device", replace_file("images", lambda path: path.symlink_to("/dev/zero")), NO_FILE),
    Case(
        "a link to nothing",
        replace_file("images", lambda path: path.symlink_to("/nowhere")),
        "(No such file or directory)",
    ),
    Case(
        "a file of 1.2 GB",
        replace_file("images", write_sparse_file),
        "(has 1,200,000,000 bytes; the limit is 1,000,000,000)",
    ),
    Case("a truncated mask", replace_mask(lambda content: content[:60]), "masks/cell1.png (is not a complete image"),
    Case(
        "an empty mask",
        replace_mask(b""),
        "1 file that cannot be used: masks/cell1.png (is not in one of the formats PNG",
    ),
    Case(
        "no mask",
        lambda folder: (folder / "masks/cell1.png").unlink(),
        "1 image without a mask: images/cell1.png. Add a",
    ),
    Case(
        "no image",
        lambda folder: (folder / "images/cell1.png").unlink(),
        "1 mask without an image: masks/cell1.png. Add",
    ),
    Case(
        "two extensions",
        replace_image(JPEG, "cell1.jpg"),
        "is shared by several files: images/cell1.jpg and images/cell1.png.",
    ),
    Case(
        "a folder whose id equals a file name",
        lambda folder: [
            ((folder / kind / "a").mkdir(), shutil.copy(folder / kind / "cell1.png", folder / kind / "a/b.png"))
            and shutil.copy(folder / kind / "cell2.png", folder / kind / "a__b.png")
            for kind in ("images", "masks")
        ],
        "names that are shared by several files: images/a/b.png and images/a__b.png,",
    ),
    Case(
        "a smaller mask",
        replace_mask(encode_image(Image.fromarray(MASK[:, :10]))),
        "masks/cell1.png (10 × 16, but the image is 24 × 16).",
    ),
    Case(
        "a rotated image, its mask not",
        lambda folder: set_orientation(folder, "images"),
        "(24 × 16, but the image is 16 × 24).",
    ),
    Case(
        "an image rotated by 180 degrees, its mask perhaps not",
        lambda folder: set_orientation(folder, "images", orientation=3),
        "1 mask whose orientation is ambiguous: masks/cell1.png (EXIF orientation 3).",
    ),
    Case(
        "different palettes",
        lambda folder: [
            (folder / "masks" / f"cell{index}.png").write_bytes(encode_palette_mask(colors))
            for index, colors in ((1, (0, 0, 0, 255, 0, 0, 0, 0, 255)), (2, (255, 0, 0, 0, 0, 0, 0, 0, 255)))
        ],
        "1 mask with a different palette than the others: masks/cell2.png (0 is #ff0000, 1 is #000000, 2 is #0000ff, "
        "but masks/cell0.png 0 is #000000",
    ),
    Case(
        "an undeclared value",
        replace_mask(encode_image(Image.fromarray(np.where(MASK == 2, 7, MASK).astype(np.uint8)))),
        "7 (96 p",
    ),
    Case(
        "several undeclared values",
        replace_mask(encode_image(Image.fromarray((MASK * 60).astype(np.uint8)))),
        "1 mask with values that no class declares, 60 (192 pixels), 120 (96 pixels): masks/cell1.png.",
    ),
    Case(
        "16 bits in a mask",
        replace_mask(encode_image(Image.fromarray(DEEP + 65_535))),
        "65535 (384 pixels): masks/cell1.png. Write",
    ),
    Case(
        "colors where values are numbers",
        replace_mask(encode_image(create_image())),
        "(has colors, but the class values are",
    ),
    Case(
        "16-bit numbers where values are colors",
        replace_mask(encode_image(Image.fromarray(DEEP))),
        "(is gray with more than 8 bits, but the class values are colors)",
        {"classes": create_classes(["#010101", "#000000", "#020202"])},
    ),
    Case(
        "fractions in a mask",
        replace_mask(encode_image(Image.fromarray(MASK / np.float32(3)), "TIFF")),
        "(has fractional pixel values",
    ),
    Case(
        "negative masks",
        replace_mask(encode_image(Image.fromarray(-MASK.astype(np.int32)), "TIFF")),
        "but only 0 to 65535 are allowed; save",
    ),
    Case(
        "a line break in a name", rename_pair("a\nb"), NAME + "a\\nb.png (has a line break or another control character"
    ),
    Case("a bell in a name", rename_pair("a\x07"), NAME + "a\\x07.png (has a line break or another control character"),
    Case(
        "a right-to-left override in a name", rename_pair("a\u202egnp"), NAME + "a\\u202egnp.png (has a line break or"
    ),
    Case(
        "a name that is not UTF-8",
        rename_pair(b"a\xff"),
        "or is not UTF-8). Rename the image and its mask.",
    ),
    Case(
        "a formula as a name",
        rename_pair("=1+1"),
        NAME + "=1+1.png (begins with =, which spreadsheets interpret as a formula), masks",
    ),
    Case(
        "a formula by plus",
        rename_pair("+1"),
        NAME + "+1.png (begins with +, which spreadsheets interpret as a formula), masks",
    ),
    Case(
        "a formula by minus",
        rename_pair("-1"),
        NAME + "-1.png (begins with -, which spreadsheets interpret as a formula), masks",
    ),
    Case(
        "a formula by at",
        rename_pair("@SUM"),
        NAME + "@SUM.png (begins with @, which spreadsheets interpret as a formula), masks",
    ),
    Case(
        "a name of 251 bytes",
        rename_pair("a" * 251),
        "(is 251 bytes long, folders included, but may have at most 200).",
    ),
    Case("a long path", rename_pair("/".join(["abcdefghi"] * 22)), "(is 240 bytes long, folders included, but"),
    Case("16 bits among 8", replace_image(encode_image(Image.fromarray(DEEP))), "(16 bits, 1 channel, but images/"),
    Case(
        "other channels than configured",
        lambda folder: None,
        "12 files that cannot be used: images/cell0.png (has 3 c",
        {"channels": 5},
    ),
    Case(
        "five unconfigured channels",
        lambda folder: tifffile.imwrite(
            folder / "images/cell1.png", np.zeros((16, 24, 5), np.uint8), planarconfig="contig"
        ),
        "images/cell1.png (has 5 channels;",
    ),
    Case(
        "a copy in another split",
        copy_image("cell1", "cell2", quality=95),
        "in train, like images/cell2.jpg in validation",
    ),
    Case(
        "a low-quality copy in another split",
        copy_image("cell1", "cell3", quality=20),
        "in train, like images/cell3.jpg in test). Near-duplicates",
    ),
    Case(
        "a copy of the showcase",
        copy_image("cell0", "cell1"),
        "images/cell1.jpg (in train, like images/cell0.png in showcase)",
    ),
    Case(
        "a line without an image",
        write_list(*create_rows(), "cell99,train"),
        "splits.csv, line 14: there is no image 'cell99'; an id is",
    ),
    Case(
        "two lines for one image",
        write_list(*create_rows(), "cell1,test"),
        "splits.csv, line 14: 'cell1' is repeated",
    ),
    Case("no line for an image", write_list(*create_rows()[:-1]), "has no line for 1 of 12 images: cell11."),
    Case(
        "an unknown split",
        write_list(*create_rows(cell1="training")),
        "line 3: the split must be one of train, validation",
    ),
    Case(
        "semicolons in a list",
        write_list(*create_rows(), header="id;split"),
        "line 1: the columns must be id,split or id,split,group,",
    ),
    Case(
        "an empty list",
        lambda folder: (folder / "splits.csv").write_text(""),
        "line 1: the columns must be id,split or id",
    ),
    Case(
        "a list in Latin-1",
        lambda folder: (folder / "splits.csv").write_bytes(b"id,split\n\xe9,train\n"),
        "Save it as a CSV file in U",
    ),
    Case(
        "a group in two splits",
        write_list(
            *(f"{row},{'p1' if row[:5] in ('cell1', 'cell2') and ',' in row[5:6] else ''}" for row in create_rows()),
            header="id,split,group",
        ),
        "the group 'p1' is in train and, with cell2, in validation.",
    ),
    Case(
        "a group with a semicolon",
        write_list(*(f"{row},a;b" for row in create_rows()), header="id,split,group"),
        "must not contain ; or =",
    ),
    Case(
        "a pattern without matches",
        lambda folder: (folder / "splits.csv").unlink(),
        "12 names in which data.splits.group_regex f",
        SPACES,
    ),
    Case(
        "a missing showcase",
        lambda folder: None,
        "data.showcase_ids: there is no image 'dog' in",
        {"showcase_ids": ["dog"]},
    ),
    Case(
        "no image for the test",
        write_list(*create_rows(**{name: "train" for name in SPLIT_BY_NAME if SPLIT_BY_NAME[name] == "test"})),
        "no sample for 'test'",
    ),
    Case("masks without foreground", replace_all_masks(np.zeros_like), "masks of the split 'train' contain only"),
    Case(
        "masks without evaluated pixels",
        replace_all_masks(lambda mask: mask * 0 + 9),
        "contain only ignored pixels",
        {"ignore_value": 9},
    ),
    Case("no masks folder", lambda folder: shutil.rmtree(folder / "masks"), "masks does not exist"),
    Case(
        "a file named images",
        lambda folder: (shutil.rmtree(folder / "images"), (folder / "images").touch()),
        "does not exist",
    ),
    Case(
        "hidden files only",
        lambda folder: [path.rename(path.with_name(f".{path.name}")) for path in sorted((folder / "images").iterdir())],
        "contains no files that match 'images/**/*'; supported extensions: .png, .jpg",
    ),
    Case(
        "a linked folder",
        lambda folder: (folder / "images/more").symlink_to("/etc"),
        "images/more is a link to a folder",
    ),
]

ODD_CASES = [
    Case(
        "a class that is missing from a split",
        lambda folder: [
            Image.fromarray(MASK.clip(max=1)).save(folder / "masks" / f"{name}.png")
            for name in SPLIT_BY_NAME
            if SPLIT_BY_NAME[name] == "test"
        ],
        "class 'wall' occurs in none of the 3 masks of the split 'test', so its scores are undefined there.",
    ),
    Case("unchanged", lambda folder: None, "12 images with their masks: 12 RGB"),
    Case(
        "upper-case extensions",
        lambda folder: (folder / "images/cell1.png").rename(folder / "images/cell1.PNG"),
        "12 images",
    ),
    Case(
        "another program's files",
        lambda folder: (folder / "images/Thumbs.db").touch(),
        "1 skipped:\n  images/Thumbs.db: files",
    ),
    Case(
        "an image and its mask, both rotated",
        lambda folder: set_orientation(folder, "images", "masks"),
        "1 turned upright according to their EXIF",
    ),
    Case(
        "transparent parts",
        replace_image(encode_image(create_image(1).convert("RGBA").rotate(30))),
        "1 with transparent parts, which become bla",
    ),
    Case("CMYK", replace_image(encode_image(create_image(1).convert("CMYK"), "JPEG")), "11 RGB, 1 CMYK"),
    Case("a palette", replace_image(encode_image(create_image(1).convert("P"))), "11 RGB, 1 palette"),
    Case("gray", replace_image(encode_image(create_image(1).convert("L"))), "11 RGB, 1 gray"),
    Case("one bit", replace_image(encode_image(create_image(1).convert("1"))), "11 RGB, 1 black and white"),
    Case(
        "a progressive JPEG",
        replace_image(encode_image(create_image(1), "JPEG", progressive=True)),
        "12 images with their masks: 12 RGB",
    ),
    Case(
        "an invalid color profile",
        replace_image(encode_image(create_image(1), icc_profile=b"none")),
        "12 images with their masks",
    ),
    Case(
        "16 bits throughout",
        replace_all_images(
            lambda index: encode_image(
                Image.fromarray(DEEP + np.random.default_rng(index).integers(0, 65_535, DEEP.shape, np.uint16))
            )
        ),
        "12 images with their masks: 12 16-bit gray",
    ),
    Case(
        "a mask without foreground",
        replace_mask(encode_image(Image.fromarray(np.zeros_like(MASK)))),
        "1 whose mask contains no foreground",
    ),
    Case(
        "copies within a split",
        copy_image("cell1", "cell4"),
        "1 image looks the same as another one in the same split: ",
    ),
    Case("a script as a name", rename_pair("<script>alert(1)<"), "12 images with their masks"),
    Case("quotes, emoji and blanks in a name", rename_pair("a 'b' \"c\" \U0001f9a0"), "12 images with their masks"),
    Case("a name of 200 bytes", rename_pair("a" * 200), "12 images with their masks"),
    Case(
        "a byte order mark at the start of a list, as spreadsheets write it",
        lambda folder: (folder / "splits.csv").write_text("\ufeffid,split\r\n" + "\r\n".join(create_rows())),
        "12 images",
    ),
    Case(
        "a folder named like an image",
        lambda folder: (folder / "images/more.png").mkdir(),
        "12 images with their masks",
    ),
]
