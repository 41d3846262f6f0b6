"""A contact sheet: thumbnails of images with their masks, by split."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pipeline.artifacts.prepared_data import SPLITS
from pipeline.imaging import IGNORE
from pipeline.report.context import ReportContext
from pipeline.report.figures.thumbnail import render_thumbnail
from pipeline.report.formatting import SPLIT_NAMES
from pipeline.report.images import EmbeddedImage, Frame, Mask

MAX_IMAGES = 24


@dataclass(frozen=True)
class ContactSheet:
    """Thumbnails of each split, and how they are drawn."""

    splits: tuple[tuple[str, tuple[EmbeddedImage, ...]], ...]  # name of the split, and images with ids as captions
    caption: str
    is_stretched: bool  # whether the contrast of an image is increased


def build_contact_sheet(context: ReportContext) -> ContactSheet:
    """Build the contact sheet, reading only the images on it.

    Raises:
        PipelineError: An array or the classes cannot be read.
    """
    rows = select_rows({split: len(context.sample_ids[split]) for split in SPLITS if split in context.sample_ids})
    splits, masks = [], []
    sizes, channels = set[tuple[int, int]](), 0
    for split, places in rows.items():
        thumbnails = []
        for row in places:
            name, (image, mask, frame) = context.sample_ids[split][row], context.read_sample(split, row)
            alt = f"{name} with the outlines of its mask"
            thumbnails.append(render_thumbnail(image, mask, context.dataset.classes, alt, name, frame))
            masks.append((mask, frame))
            height, width, channels = image.shape
            sizes.add((height, width))
        splits.append((SPLIT_NAMES[split].capitalize(), tuple(thumbnails)))
    return ContactSheet(
        splits=tuple(splits),
        caption=_caption(sizes, channels, masks),
        is_stretched=any(thumbnail.stretched for _, thumbnails in splits for thumbnail in thumbnails),
    )


def select_rows(counts: Mapping[str, int]) -> dict[str, list[int]]:
    """Select up to `MAX_IMAGES` evenly spaced rows, the same number in each split if possible."""
    shown = dict.fromkeys(counts, 0)
    for _ in range(min(MAX_IMAGES, sum(counts.values()))):
        incomplete = [split for split in counts if shown[split] < counts[split]]
        shown[min(incomplete, key=lambda split: shown[split])] += 1
    return {
        split: [(2 * place + 1) * counts[split] // (2 * count) for place in range(count)]
        for split, count in shown.items()
    }


def _caption(sizes: Collection[tuple[int, int]], channels: int, masks: list[tuple[Mask, Frame]]) -> str:
    """Describe how images of these sizes (height, width) are drawn, and which of their channels are shown."""
    ordered = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    extremes = " to ".join(f"{width} × {height}" for height, width in dict.fromkeys((ordered[0], ordered[-1])))
    fitted = {"stretch": ", here in the proportions of the originals", "letterbox": ", here without padding"}
    reshaped = [fitted[frame.resize] for _, frame in masks if frame.height != frame.width][:1]
    sentences = [
        f"As prepared, {extremes} pixels{''.join(reshaped)}. Each region is outlined in its class’s color; "
        "foreground is tinted."
    ]
    if any((frame.crop(mask) == IGNORE).any() for mask, frame in masks):
        sentences.append("Gray pixels are ignored.")
    if channels == 2:
        sentences.append("The first of two channels is shown in gray.")
    elif channels > 3:
        sentences.append(f"The first three of {channels} channels are shown as red, green and blue.")
    return " ".join(sentences)
