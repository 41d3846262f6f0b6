"""Which data a run was trained on, for a person who uses it on other images."""

from __future__ import annotations

from pipeline.params import Cell, Params
from pipeline.params.data.composites import CompositesData
from pipeline.prepare.sample_ids import format_count
from pipeline.runs import DataSet

MAX_NAMED = 6  # classes


def describe_training_data(cell: Cell, data: DataSet, images: int, size: int) -> str:
    """Name the data that a run was trained on, in one line.

    Args:
        cell: the run's parameters.
        data: the prepared data.
        images: in the training split.
        size: height and width of an image, px.
    """
    seen = min(images, cell.train_images or images)
    names = [item.name for item in data.classes]
    classes = ", ".join(names[:MAX_NAMED])
    if len(names) > MAX_NAMED:
        classes += f", +{len(names) - MAX_NAMED} more"
    return (
        f'{cell.name} was trained on "{data.title}": {format_count(seen, "image", "images")} of {size} x {size} px; '
        f"classes: {classes}"
    )


def advise_on_composites(params: Params) -> str:
    """Name better training data than the bundled composites; empty if a run is trained on, or tested on, other data."""
    if not isinstance(params.data, CompositesData) or params.data.test is not None:
        return ""
    return (
        "Photographs differ from these composites, so expect poor masks of them. Train on your own images and masks "
        "(pipeline init FOLDER; make report), or on composites that resemble photographs (make report SET=composites "
        "DATA=FOLDER; docs/recipe.md)."
    )
