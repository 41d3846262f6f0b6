"""Make this folder's pictures from the Debian packages that they come from; README.md has the commands.

Usage: python data/sample/make.py UNPACKED, where UNPACKED/<package>/ holds each package of sources.csv, unpacked.
"""

from __future__ import annotations

import csv
import shutil
import sys
from pathlib import Path

from PIL import Image

FOLDER = Path(__file__).parent
ANIMAL_SIDE = 224  # px, the longest side; cut-outs that are smaller stay as they are
BACKGROUND_SIDE = 384  # px, the longest side


def main(unpacked: Path) -> None:
    """Write animals/ and backgrounds/ anew."""
    with (FOLDER / "sources.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for name in ("animals", "backgrounds"):
        shutil.rmtree(FOLDER / name, ignore_errors=True)
        (FOLDER / name).mkdir()
    for row in rows:
        with Image.open(unpacked / row["package"] / row["file"]) as picture:
            if row["kind"] == "animal":
                write_animal(picture, FOLDER / "animals" / f"{row['name']}.webp")
            else:
                write_background(picture, FOLDER / "backgrounds" / f"{row['name']}.jpg")
    print(f"{len(rows)} pictures")


def write_animal(picture: Image.Image, path: Path) -> None:
    """Cropped to what can be seen, scaled with premultiplied alpha (as Pillow does for RGBA), alpha without loss."""
    cutout = picture.convert("RGBA")
    # Below 16 of 255 there is only the haze of old scissors, far around some animals.
    cutout = cutout.crop(cutout.getchannel("A").point([0] * 16 + [255] * 240).getbbox())
    cutout.thumbnail((ANIMAL_SIDE, ANIMAL_SIDE), Image.Resampling.LANCZOS)
    cutout.info.clear()
    cutout.save(path, quality=90, alpha_quality=100, method=6)


def write_background(picture: Image.Image, path: Path) -> None:
    """Scaled; no profile and no camera's notes are kept."""
    photograph = picture.convert("RGB")
    photograph.thumbnail((BACKGROUND_SIDE, BACKGROUND_SIDE), Image.Resampling.LANCZOS)
    photograph.info.clear()
    photograph.save(path, quality=88, optimize=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
