"""How metrics were measured, as far as this can differ between evaluations of the same data."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.artifacts.comparison import Summary
from pipeline.artifacts.metric_names import OBJECT_METRICS
from pipeline.artifacts.object_scores import ObjectEvaluation
from pipeline.artifacts.project import Project
from pipeline.artifacts.scores import DistanceScale

_UNIT, _PIXEL, _TOLERANCE = "data.pixel_unit", "pixel size", "evaluation.surface_tolerance"
_OBJECTS, _MIN_AREA = "evaluation.objects", "evaluation.min_object_area"
_DEPENDENCIES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("hd95", "asd"), (_UNIT, _PIXEL)),
    "nsd": (_UNIT, _PIXEL, _TOLERANCE),
    **dict.fromkeys(OBJECT_METRICS, (_OBJECTS, _MIN_AREA)),
}


def describe_measurement(
    distances: DistanceScale | None, objects: ObjectEvaluation | None, fold: int | None = None
) -> dict[str, str]:
    """Describe how an evaluation measured distances and objects, by name of a parameter; unknown ones are left out.

    The sizes of pixels are of the images of `fold`, and therefore belong to a name of their own in every fold.
    """
    found = {}
    if distances is not None:
        sides = dict.fromkeys(f"{side:g}" for side in (distances.smallest_pixel, distances.largest_pixel))
        found[_UNIT] = distances.unit
        found[_PIXEL if fold is None else f"{_PIXEL} in fold {fold}"] = f"{' to '.join(sides)} {distances.unit}"
        found[_TOLERANCE] = f"{distances.tolerance:g} {distances.unit}"
    if objects is not None:
        found[_OBJECTS] = ", ".join(objects.classes)
        found[_MIN_AREA] = f"{objects.min_area} px"
    return found


def describe_grid_measurement(project: Project, summary: Summary) -> dict[str, str]:
    """Describe how the metrics of a project's compared grid were measured."""
    complete = [row for row in summary.runs if row.is_complete]
    evaluations = (project.evaluation(row.run) for row in complete)
    # The copy of a git revision has only one evaluation, that of the best run.
    evaluation = next((found for found in evaluations if found.exists()), None)
    fold = complete[0].fold if complete else None  # of the run that `summary.distances` is of
    return describe_measurement(summary.distances, evaluation.metrics.objects if evaluation else None, fold)


def list_measurement_changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """List the name and both values of everything that is known for both evaluations and differs."""
    return [(name, before[name], value) for name, value in now.items() if before.get(name, value) != value]


def depends_on(metric: str, name: str) -> bool:
    """Return whether a metric, by its name in `RankBy`, depends on something in `describe_measurement`."""
    return name.startswith(_DEPENDENCIES.get(metric, ()))
