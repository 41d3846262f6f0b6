"""A sheet of small pictures: what the images and their masks look like, split by split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline import runs
from pipeline.report import view, wording
from pipeline.report.figures.frames import Frame
from pipeline.report.figures.thumbnails import thumbnail
from pipeline.report.material import Mask, Material, Photo

MOST = 24  # pictures


@dataclass(frozen=True)
class ContactSheet:
    """Images of each split with their masks drawn into them, and how they are drawn."""

    splits: tuple[tuple[str, tuple[view.Picture, ...]], ...]  # the split's name, and pictures with the samples' ids
    caption: str
    is_stretched: bool  # whether the contrast of a picture was increased


def contact_sheet(material: Material) -> ContactSheet:
    """Read what is shown and nothing else; raises `PipelineError` where an array or the classes cannot be read."""
    rows = picked({split: len(material.samples[split]) for split in runs.SPLITS if split in material.samples})
    read = {
        split: [
            (
                material.samples[split][row],
                material.image(split, row),
                material.truth(split, row),
                material.frame(split, row),
            )
            for row in places
        ]
        for split, places in rows.items()
    }
    shown = [sample for samples in read.values() for sample in samples]
    splits = tuple(
        (
            wording.SPLITS[split].capitalize(),
            tuple(
                thumbnail(image, mask, material.data.classes, f"{name} with the outlines of its mask", name, frame)
                for name, image, mask, frame in samples
            ),
        )
        for split, samples in read.items()
    )
    return ContactSheet(
        splits=splits,
        caption=_caption(shown[0][1], [(mask, frame) for _, _, mask, frame in shown]),
        is_stretched=any(picture.stretched for _, found in splits for picture in found),
    )


def picked(counts: Mapping[str, int]) -> dict[str, list[int]]:
    """Rows of each split, at even distances: as many of one split as of another, as far as there are and as fit."""
    shown = dict.fromkeys(counts, 0)
    while sum(shown.values()) < MOST and (open_ones := [split for split in counts if shown[split] < counts[split]]):
        shown[min(open_ones, key=lambda split: shown[split])] += 1
    return {
        split: [(2 * place + 1) * counts[split] // (2 * count) for place in range(count)]
        for split, count in shown.items()
    }


def _caption(image: Photo, masks: list[tuple[Mask, Frame]]) -> str:
    """How the pictures are drawn, and what of the images they cannot show."""
    height, width, channels = image.shape
    fitted = {
        "squash": ", here in the proportions of the originals",
        "pad": ", here without what was padded",
    }
    reshaped = [fitted[frame.resize] for _, frame in masks if frame.height != frame.width][:1]
    sentences = [
        f"As prepared, {width} × {height} pixels{''.join(reshaped)}. Each region is outlined in its class’s colour; "
        "foreground is tinted."
    ]
    if any((frame.crop(mask) == runs.IGNORE).any() for mask, frame in masks):
        sentences.append("Under the grey veil pixels count nowhere.")
    if channels == 2:
        sentences.append("Of the two channels the first is shown, as grey.")
    elif channels > 3:
        sentences.append(f"Of the {channels} channels the first three are shown, as red, green and blue.")
    return " ".join(sentences)
