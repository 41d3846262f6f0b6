"""Which classes of the data are objects, and how they are found in predicted class masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.artifacts.prepared_data import SegmentationClass
from pipeline.errors import PipelineError
from pipeline.params import Evaluation
from pipeline.params.objects import KEY, find_object_mistakes


@dataclass(frozen=True)
class ObjectSettings:
    """Settings for `pipeline.imaging.objects.label_objects`."""

    names: tuple[str, ...]  # classes of objects
    foreground: tuple[int, ...]  # indices of these classes
    boundary: tuple[int, ...]  # indices of the boundary classes
    min_area: int  # px of the prepared image
    is_numbered: bool  # whether the prepared data has the numbers of the objects


def find_object_settings(
    evaluation: Evaluation, classes: Sequence[SegmentationClass], is_numbered: bool
) -> ObjectSettings | None:
    """Find the classes whose objects are scored.

    Args:
        evaluation: Section of the parameters.
        classes: Classes of the data.
        is_numbered: Whether the prepared data has the numbers of the objects.

    Returns:
        The settings; None if objects are not scored.

    Raises:
        PipelineError: `evaluation.objects` names a class that is not foreground, or the data has no foreground class.
    """
    names = evaluation.objects
    if names is None and is_numbered:
        names = _list_foreground(classes)
    elif not names:
        return None
    return create_object_settings(names, evaluation, classes, is_numbered, KEY)


def require_object_settings(evaluation: Evaluation, classes: Sequence[SegmentationClass], key: str) -> ObjectSettings:
    """Find the classes of objects for a command that needs them: by default, all foreground classes.

    Raises:
        PipelineError: See `find_object_settings`. The message starts with `key`, the option that asks for objects.
    """
    names = evaluation.objects or _list_foreground(classes)
    return create_object_settings(names, evaluation, classes, False, KEY if evaluation.objects else key)


def create_object_settings(
    names: Sequence[str], evaluation: Evaluation, classes: Sequence[SegmentationClass], is_numbered: bool, key: str
) -> ObjectSettings:
    """Create the settings for the named classes, or raise `PipelineError`; see `find_object_settings`."""
    if mistakes := find_object_mistakes(names, classes, key):
        raise PipelineError("\n".join(mistakes))
    return ObjectSettings(
        names=tuple(item.name for item in classes if item.name in names),
        foreground=tuple(index for index, item in enumerate(classes) if item.name in names),
        boundary=tuple(index for index, item in enumerate(classes) if item.is_boundary),
        min_area=evaluation.min_object_area,
        is_numbered=is_numbered,
    )


def _list_foreground(classes: Sequence[SegmentationClass]) -> list[str]:
    return [item.name for item in classes if item.foreground]
