"""Plot the losses of a range test."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.figure import Figure

from pipeline.atomic_io import write_bytes
from pipeline.lr_find.suggestion import RangeTest, Suggestion


def draw_loss(test: RangeTest, found: Suggestion | None, variant: str, path: Path) -> None:
    """Draw the losses over the learning rates, with the suggested grid."""
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    axes.set_xscale("log")
    axes.plot(test.learning_rates, test.losses, color="#b0b0b0", linewidth=1, label="batch")
    if found:
        axes.plot(test.learning_rates[: len(found.smoothed)], found.smoothed, color="#0072b2", label="running mean")
        for place, rate in enumerate(found.grid):
            axes.axvline(rate, color="#d55e00", linestyle=":", label=None if place else "suggested grid")
        shown = test.losses[: len(found.smoothed)]
        axes.set_ylim(0.9 * float(shown.min()), 1.3 * float(found.smoothed.max()))
    axes.set_title(f"{variant}: training with an increasing learning rate", loc="left", fontsize=11)
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix[1:], dpi=150)
    write_bytes(path, content.getbuffer())
