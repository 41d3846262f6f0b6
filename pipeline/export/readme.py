"""Documentation of an exported model in Markdown."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.export.metadata import format_mask_values, get_max_value
from pipeline.imaging.resize import FixedSize, NativeSize
from pipeline.inference.trained_run import TrainedRun
from pipeline.volumes.slice_file import IntensityWindow
from pipeline.wording import format_size

_PREFIXES = ("val_", "test_", "gap")  # of scores


def create_readme(run: TrainedRun, evidence: Mapping[str, str], window: IntensityWindow | None) -> str:
    """Describe input, output, scores and training data of a run's model.

    Args:
        run: The run, or the ensemble.
        evidence: Scores by name.
        window: Mapping of the intensities of slices or scenes to pixel values; None if they are used as they are.
    """
    classes = "\n".join(
        f"| {index} | {item.name} | {item.color} | {value} |"
        for index, (item, value) in enumerate(zip(run.data.classes, format_mask_values(run.encoding), strict=True))
    )
    scores = "\n".join(f"| {name} | {value} |" for name, value in evidence.items() if name.startswith(_PREFIXES))
    table = f"| score | value |\n|---|---|\n{scores}" if scores else "The scores of this run are unknown."
    credit = f"\n\n{run.data.credit}" if run.data.credit else ""
    return f"""\
# {run.name}

A network for semantic segmentation, {run.describe()}, trained with unet-learning-report.

## Input

{_describe_input(run, window)}

## Output

The probability of each class at each pixel:

| index | class | color | value in masks |
|---|---|---|---|
{classes}

## Validation

Losses are cross-entropy in nats per pixel. The validation images also served to choose the epoch and the setting, so
scores on new images may be lower. Images that differ from the training images are untested. To validate the model,
compare the most probable class of each pixel with annotations of your own images, for example by the IoU of each class.

{table}

## Training data

{run.data.title}, fingerprint {run.data.fingerprint}.{credit}
"""


def _describe_input(run: TrainedRun, window: IntensityWindow | None) -> str:
    channels, maximum = run.channel_names, get_max_value(run.preprocessing)
    sentences = [
        f"The channels are {channels}: {run.preprocessing.channels} x height x width, values from 0 to {maximum}.",
        _describe_resizing(run),
        "The network receives values from 0 to 1; any further normalization is part of it.",
    ]
    if window is not None:
        sentences.insert(
            1,
            f"Intensities are scaled linearly to these values: those up to {window.low:g} become 0, and those from "
            f"{window.high:g} on {maximum}.",
        )
    return "\n".join(sentences)


def _describe_resizing(run: TrainedRun) -> str:
    resizing, size = run.preprocessing.resizing, format_size(run.input_size)
    if isinstance(resizing, FixedSize):
        if resizing.mode == "stretch":
            return f"Stretch images to {size} with a Lanczos filter."
        return f"Fit images into {size} with a Lanczos filter, keep their aspect ratio, center them, pad by reflection."
    assert isinstance(resizing, NativeSize)
    scaled = "" if resizing.downscale == 1 else f"Divide the size of images by {resizing.downscale:g}. "
    return f"{scaled}Cut images into overlapping tiles of {size}."
