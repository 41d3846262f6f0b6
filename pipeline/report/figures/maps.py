"""Pictures for the author's words: what goes on inside a U-Net of this very grid."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline import runs
from pipeline.report import view
from pipeline.report.figures import pictures
from pipeline.report.material import Material
from pipeline.report.selection import Chosen


@dataclass(frozen=True)
class MapFigure:
    """Maps from inside a network, side by side."""

    pictures: tuple[view.Picture, ...]
    caption: str


NAMES = ("skip", "below", "upsampling")  # what `{{ picture(name) }}` may ask for


def map_figures(material: Material, chosen: Chosen) -> dict[str, MapFigure]:
    """Make a figure per name, of the best shown run whose network has maps and a skip; none if there is no such run.

    Raises:
        PipelineError: The files of a run are broken.
    """
    for run in _shown_runs(material, chosen):
        model = material.record(run).cell.get("model", {})
        if model.get("skip", "none") != "none" and (maps := material.maps(run)):
            break
    else:
        return {}
    photograph = pictures.photograph(material.image(runs.SHOWCASE, 0), "The showcase", "Image")
    rows = {
        name: (photograph, *(pictures.grey(one, f"{what}, map {n}") for n, one in enumerate(maps[name], start=1)))
        for name, what in (("skip", "Crossing the uppermost skip"), ("below", "Coming from below"))
    }
    (h, w), (high, wide) = maps["before"].shape, maps["after"].shape
    rows["upsampling"] = (
        photograph,
        pictures.grey(maps["before"], "A map before the deepest upsampling", f"{h} × {w} pixels"),
        pictures.grey(maps["after"], "A map after the deepest upsampling", f"{high} × {wide} pixels"),
    )
    captions = {
        "skip": f"What crosses the uppermost skip of {run}: of the encoder’s maps of that level those that vary most.",
        "below": f"What comes from below to the same place in {run}: of the decoder’s own maps those that vary most.",
        "upsampling": f"The deepest upsampling of {run}: of the maps before and after it those that vary most.",
    }
    return {name: MapFigure(rows[name], captions[name]) for name in NAMES}


def _shown_runs(material: Material, chosen: Chosen) -> list[str]:
    """List the runs of the page that have a model: the best of each variant, then the others by validation loss."""
    best = [item.run for item in material.summary.best_of_variant if item.run in chosen.names]
    losses = sorted((row.val_loss, row.run) for row in chosen.rows if row.val_loss is not None)
    return list(dict.fromkeys([*best, *(run for _, run in losses)]))
