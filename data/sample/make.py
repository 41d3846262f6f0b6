"""Create the bundled images from the Debian packages that contain them; README.md has the commands.

Usage: python data/sample/make.py UNPACKED, where UNPACKED/<package>/ holds each package of sources.csv, unpacked.
"""

from __future__ import annotations

import csv
import shutil
import sys
from pathlib import Path

from PIL import Image

FOLDER = Path(__file__).parent
MAX_ANIMAL_SIZE = 224  # px, of the longer side; smaller images are not enlarged
MAX_BACKGROUND_SIZE = 384  # px, of the longer side
MIN_ALPHA = 16  # of 255; lower values are a haze around some animals, which would enlarge the crop


def main(unpacked: Path) -> None:
    """Replace the images in animals/ and backgrounds/."""
    with (FOLDER / "sources.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for name in ("animals", "backgrounds"):
        shutil.rmtree(FOLDER / name, ignore_errors=True)
        (FOLDER / name).mkdir()
    for row in rows:
        with Image.open(unpacked / row["package"] / row["file"]) as image:
            if row["kind"] == "animal":
                write_animal(image, FOLDER / "animals" / f"{row['name']}.webp")
            else:
                write_background(image, FOLDER / "backgrounds" / f"{row['name']}.jpg")
    print(f"{len(rows)} images")


def write_animal(image: Image.Image, path: Path) -> None:
    """Crop an animal to its visible part and resize it; Pillow premultiplies alpha, and WebP keeps alpha lossless."""
    animal = image.convert("RGBA")
    animal = animal.crop(animal.getchannel("A").point([0] * MIN_ALPHA + [255] * (256 - MIN_ALPHA)).getbbox())
    animal.thumbnail((MAX_ANIMAL_SIZE, MAX_ANIMAL_SIZE), Image.Resampling.LANCZOS)
    animal.info.clear()
    animal.save(path, quality=90, alpha_quality=100, method=6)


def write_background(image: Image.Image, path: Path) -> None:
    """Resize a background; drop its color profile and metadata."""
    background = image.convert("RGB")
    background.thumbnail((MAX_BACKGROUND_SIZE, MAX_BACKGROUND_SIZE), Image.Resampling.LANCZOS)
    background.info.clear()
    background.save(path, quality=88, optimize=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
