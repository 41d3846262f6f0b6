"""A sheet of small pictures: what the images and their masks look like, split by split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline import runs
from pipeline.errors import PipelineError
from pipeline.report import view, wording
from pipeline.report.figures.thumbnails import thumbnail
from pipeline.report.material import Material, Photo

MOST = 24  # pictures


@dataclass(frozen=True)
class Thumbnail:
    """An image with its mask drawn into it."""

    picture: view.Picture
    id: str


@dataclass(frozen=True)
class ContactSheet:
    """Images of each split, evenly out of its order, and how they are drawn."""

    thumbnails: tuple[Thumbnail, ...]
    caption: str


def contact_sheet(material: Material) -> ContactSheet:
    """Read what is shown and nothing else; raises `PipelineError` where an array or the classes cannot be read."""
    counts = {split: len(material.samples.get(split, ())) for split in runs.SPLITS}
    places = [(split, row) for split, rows in picked(counts).items() for row in rows]
    if not places:
        raise PipelineError(f"{runs.PREPARED / runs.SAMPLES} names no image of a split. Run `pipeline prepare` again.")
    images = [material.image(*place) for place in places]
    masks = [material.truth(*place) for place in places]
    ids = [material.samples[split][row] for split, row in places]
    return ContactSheet(
        thumbnails=tuple(
            Thumbnail(
                thumbnail(
                    image,
                    mask,
                    material.data.classes,
                    f"Image {sample} with the outlines of its mask",
                    wording.SPLITS[split],
                ),
                sample,
            )
            for image, mask, sample, (split, _) in zip(images, masks, ids, places, strict=True)
        ),
        caption=_caption(images[0], ignored=any((mask == runs.IGNORE).any() for mask in masks)),
    )


def picked(counts: Mapping[str, int], most: int = MOST) -> dict[str, list[int]]:
    """Rows of each split: as many of each as there are and as fit, at even distances."""
    shown = dict.fromkeys(counts, 0)
    while sum(shown.values()) < most and (open_ones := [split for split in counts if shown[split] < counts[split]]):
        shown[min(open_ones, key=lambda split: shown[split])] += 1
    return {
        split: [(2 * place + 1) * counts[split] // (2 * count) for place in range(count)]
        for split, count in shown.items()
    }


def _caption(image: Photo, *, ignored: bool) -> str:
    """How the pictures are drawn, and what of the images they cannot show."""
    sentences = ["Each region is outlined in its class’s colour, and foreground is tinted."]
    if ignored:
        sentences.append("Under the grey veil pixels count nowhere.")
    channels = image.shape[-1]
    if channels == 2:
        sentences.append("Of the two channels the first is shown, as grey.")
    elif channels > 3:
        sentences.append(f"Of the {channels} channels the first three are shown, as red, green and blue.")
    if image.dtype == np.uint16:
        sentences.append("Each picture’s 16 bits are stretched from its darkest to its brightest pixels.")
    return " ".join(sentences)
