"""Draw images that look the same side by side, for a person to judge whether they are different."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from pipeline.atomic_io import write_bytes
from pipeline.imaging.to_rgb import to_rgb
from pipeline.prepare.duplicates import DuplicatePair
from pipeline.prepare.names import readable

MAX_PAIRS = 60
COLUMNS = 3  # pairs in a row
SIDE = 160  # px, of an image
GAP, LINE, TEXT = 12, 16, 12  # px, between pairs; of a line of text; of its letters
PAPER, INK, ALARM = "#ffffff", "#222222", "#b00020"


def write_sheet(pairs: Iterator[DuplicatePair], path: Path) -> Path | None:
    """Write the first pairs as one PNG, two images side by side with their names and splits.

    Returns:
        The path; None, and no file is written, if there are no pairs.
    """
    found = list(islice(pairs, MAX_PAIRS))
    if not found:
        path.unlink(missing_ok=True)
        return None
    width, height = 2 * SIDE + GAP, SIDE + 2 * LINE + GAP
    columns = min(COLUMNS, len(found))
    rows = -(-len(found) // columns)
    sheet = Image.new("RGB", (columns * width + GAP, rows * height + GAP), PAPER)
    for place, pair in enumerate(found):
        row, column = divmod(place, columns)
        _draw(sheet, pair, GAP + column * width, GAP + row * height)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, buffer.getbuffer())
    return path


def _draw(sheet: Image.Image, pair: DuplicatePair, left: int, top: int) -> None:
    canvas, font = ImageDraw.Draw(sheet), ImageFont.load_default(TEXT)
    leaks = pair.splits[0] != pair.splits[1]
    for place, (name, split, image) in enumerate(zip(pair.names, pair.splits, pair.images, strict=True)):
        x = left + place * SIDE
        shown = Image.fromarray(to_rgb(image))
        sheet.paste(shown.resize((SIDE - 2, SIDE - 2), Image.Resampling.LANCZOS), (x, top))
        text = _shortened(readable(name), font)
        canvas.text((x, top + SIDE), text, INK, font)
        canvas.text((x, top + SIDE + LINE), split, ALARM if leaks else INK, font)


def _shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    if font.getlength(text) <= SIDE - 4:
        return text
    while text and font.getlength(f"{text}…") > SIDE - 4:
        text = text[:-1]
    return f"{text}…"
