"""Confusion matrix of many classes as a heat map without text."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from markupsafe import Markup
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.artifacts.project import Project
from pipeline.report.figures import svg

SIZE = (5.6, 5.4)  # inches
COLOR = "#c2741a"  # over the background of the page, light or dark; its opacity is the square root of the share


def draw_confusion_map(shares: npt.NDArray[np.float64], project: Project) -> Markup:
    """Draw the shares of each true class's pixels (C x C, rows are true classes; NaN for a class without pixels)."""
    count = len(shares)
    pixels = np.empty((count, count, 4))
    pixels[..., :3], pixels[..., 3] = to_rgb(COLOR), np.sqrt(np.nan_to_num(shares))
    with svg.use_style(project):
        figure = Figure(SIZE, layout="constrained")
        axes = figure.add_subplot()
        axes.imshow(pixels, interpolation="none", extent=(0.5, count + 0.5, count + 0.5, 0.5))
        axes.grid(visible=False)
        axes.spines[:].set_visible(True)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(8, integer=True))
        axes.set_xlabel("predicted class", loc="right")
        axes.set_title("true class", loc="left", fontsize=11)
        return svg.render_svg(figure, "confusion")
