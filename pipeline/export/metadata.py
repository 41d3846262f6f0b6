"""Metadata of an exported network: what a user needs to know to run it without this project."""

from __future__ import annotations

import json
from typing import Any

from pipeline.imaging.mask_to_classes import MaskEncoding
from pipeline.imaging.pixel_size import PixelSize
from pipeline.imaging.resize import FixedSize, NativeSize
from pipeline.inference.preprocessing import Preprocessing
from pipeline.inference.trained_run import TrainedRun
from pipeline.volumes.slice_file import IntensityWindow

EXAMPLE = "example"  # key of the usage example


def create_metadata(run: TrainedRun, pixel: PixelSize | None, window: IntensityWindow | None) -> dict[str, str]:
    """Create the metadata of a run's network; values that are not plain text are JSON.

    Args:
        run: The run, or the ensemble.
        pixel: Size of a pixel of the original images; None if it is unknown.
        window: Mapping of the intensities of slices or scenes to pixel values; None if they are used as they are.
    """
    values = format_mask_values(run.encoding)
    classes = [
        {"index": index, **vars(item), "mask_value": value}
        for index, (item, value) in enumerate(zip(run.data.classes, values, strict=True))
    ]
    preprocessing = run.preprocessing
    maximum = get_max_value(preprocessing)
    return {
        "run": run.describe(),
        "run_key": run.key,
        "data": run.data.title,
        "data_fingerprint": run.data.fingerprint,
        "class_names": _to_json(run.data.class_names),
        "classes": _to_json(classes),
        "input_size": _to_json(run.input_size),
        "channels": str(preprocessing.channels),
        "channel_order": run.channel_names,
        "bits": str(preprocessing.bits),
        "max_value": str(maximum),
        "window": _to_json(None if window is None else [window.low, window.high]),
        "normalization": f"Divide pixel values by {maximum}. Any further normalization is part of the network.",
        **_describe_resizing(run),
        "pixel_size": _to_json(None if pixel is None else vars(pixel)),
    }


def get_max_value(preprocessing: Preprocessing) -> int:
    """Return the pixel value that corresponds to 1 in the network's input."""
    return (1 << preprocessing.bits) - 1


def format_mask_values(encoding: MaskEncoding) -> list[int | str]:
    """Format the value of each class in masks: a number, or a color as #rrggbb."""
    values = encoding.output_values.tolist()
    return [f"#{value:06x}" for value in values] if encoding.are_colors else values


def _describe_resizing(run: TrainedRun) -> dict[str, str]:
    resizing = run.preprocessing.resizing
    if isinstance(resizing, FixedSize):
        return {"resize": resizing.mode, "resize_filter": "lanczos", "padding": "reflect"}
    assert isinstance(resizing, NativeSize) and run.tiles is not None
    tiles = {"overlap": run.tiles.overlap, "multiple": run.tiles.multiple, "blend": run.tiles.blend}
    return {
        "resize": "native",
        "resize_filter": "lanczos",
        "padding": "reflect",
        "downscale": f"{resizing.downscale:g}",
        "tiles": _to_json(tiles),
    }


def _to_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
