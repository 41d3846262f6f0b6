"""Figures of the feature maps of a U-Net, for the author's notes."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.artifacts.prepared_data import SHOWCASE
from pipeline.imaging.windows import center_window, cut_window
from pipeline.params.data.fields import list_sides
from pipeline.report.figures import image_html
from pipeline.report.images import EmbeddedImage
from pipeline.report.page_context import PageContext


@dataclass(frozen=True)
class FeatureMapFigure:
    """Feature maps side by side, with a caption."""

    images: tuple[EmbeddedImage, ...]
    caption: str


NAMES = ("skip", "below", "upsampling")  # names for `{{ picture(name) }}`


def create_feature_map_figures(context: PageContext) -> dict[str, FeatureMapFigure]:
    """Create the figures of the best run on the page that has skip connections and stored feature maps.

    Returns:
        One figure per name in `NAMES`; none if no run has feature maps.

    Raises:
        PipelineError: Files of a run are broken.
    """
    for run in _list_runs(context):
        cell = context.project.run(run).record.cell
        if cell.get("model", {}).get("skip_connections", "none") != "none" and (
            maps := context.project.evaluation(run).read_feature_maps()
        ):
            break
    else:
        return {}
    showcase = context.project.prepared.open_split(SHOWCASE)
    shown, patch = showcase.images[0], cell.get("train", {}).get("patch_size")
    if patch is not None:  # native images: the feature maps show a patch in the middle of the image
        shown = cut_window(shown, center_window(shown.shape, list_sides(patch)))
    image = image_html.render_image(shown, "The showcase", "Image")
    skip, below = (
        [image_html.render_gray(one, f"{what}, map {n}") for n, one in enumerate(maps[name], start=1)]
        for name, what in (("skip", "Top skip connection"), ("below", "Decoder input from below"))
    )
    before, after = (
        image_html.render_gray(
            maps[name], f"A feature map {name} the deepest upsampling", "{1} × {0} pixels".format(*maps[name].shape)
        )
        for name in ("before", "after")
    )
    variance = "those with the highest variance"
    return {
        "skip": FeatureMapFigure(
            (image, *skip), f"Feature maps of the encoder on the top skip connection of {run}, {variance}."
        ),
        "below": FeatureMapFigure(
            (image, *below), f"Feature maps of the decoder at the same level of {run}, {variance}."
        ),
        "upsampling": FeatureMapFigure(
            (image, before, after),
            f"The deepest upsampling of {run}: feature maps with the highest variance before and after it.",
        ),
    }


def _list_runs(context: PageContext) -> list[str]:
    """List the runs that have a model: the best run of each variant, then the others by validation loss."""
    losses = sorted((row.val_loss, row.run) for row in context.selection.rows if row.val_loss is not None)
    return list(dict.fromkeys([*context.shown_best_runs, *(run for _, run in losses)]))
