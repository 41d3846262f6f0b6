"""Draws docs/schedules.svg: each schedule of the learning rate, as training takes it from step to step.

Run it in the project's folder after a change to `pipeline/train/lr_schedulers.py`: `python docs/schedules.py`.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from pipeline.params.train import Constant, Cosine, LrSchedulerSettings, OneCycle, ReduceOnPlateau
from pipeline.train.lr_schedulers import create_lr_scheduler

EPOCHS, STEPS = 12, 20  # of an epoch
ENCODER = 0.3  # the encoder's rate as a share of the cell's
VALIDATION = (1.0, 0.8, 0.7, 0.65, 0.66, 0.66, 0.6, 0.61, 0.61, 0.61, 0.61, 0.61)  # an invented loss an epoch
PANELS: tuple[tuple[str, LrSchedulerSettings], ...] = (
    ("constant", Constant(name="constant")),
    ("cosine, warm_up: 0.1", Cosine(name="cosine", warm_up=0.1)),
    ("one_cycle, warm_up: 0.3", OneCycle(name="one_cycle", warm_up=0.3)),
    (
        "reduce_on_plateau, factor: 0.5, patience: 1",
        ReduceOnPlateau(name="reduce_on_plateau", factor=0.5, patience=1),
    ),
)
WIDTH, HEIGHT = 310, 120  # px, of a panel's plot
LEFT, TOP, ACROSS, DOWN = 50, 60, 360, 190  # px, of the first plot, and from one to the next
INK, LINE, DASHED, FAINT = "#333333", "#0072b2", "#c04e00", "#d9d9d9"  # on a light card, whatever the page's ground


def rates(chosen: LrSchedulerSettings) -> tuple[list[float], list[float]]:
    """The rates of decoder and encoder at each step of a training at 1.0."""
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": rate} for rate in (1.0, ENCODER)]
    optimiser = torch.optim.SGD(groups)
    schedule = create_lr_scheduler(optimiser, chosen, EPOCHS * STEPS)
    seen = []
    for loss in VALIDATION:
        for _ in range(STEPS):
            seen.append(tuple(float(group["lr"]) for group in optimiser.param_groups))
            optimiser.step()
            if not isinstance(schedule, ReduceLROnPlateau):
                schedule.step()
        if isinstance(schedule, ReduceLROnPlateau):
            schedule.step(loss)
    return [decoder for decoder, _ in seen], [encoder for _, encoder in seen]


def drawing() -> str:
    """The whole picture, as SVG."""
    width, height = LEFT + ACROSS + WIDTH + 30, TOP + DOWN + HEIGHT + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        'font-family="system-ui, sans-serif" font-size="12">',
        "<title>The learning rate over 12 epochs: constant; cosine; one_cycle; reduce_on_plateau</title>",
        f'<rect width="{width}" height="{height}" rx="8" fill="#fafafa"/>',
        *_key(LEFT, 24, LINE, "", "the cell's learning rate (grid.learning_rate)"),
        *_key(LEFT + ACROSS, 24, DASHED, "5 3", f"the encoder's, with encoder_rate: {ENCODER}"),
    ]
    for number, (title, chosen) in enumerate(PANELS):
        parts += _panel(LEFT + number % 2 * ACROSS, TOP + number // 2 * DOWN, title, chosen)
    return "\n".join([*parts, "</svg>", ""])


def _key(x: int, y: int, colour: str, dashes: str, text: str) -> list[str]:
    return [
        f'<path d="M{x} {y}h28" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"/>',
        f'<text x="{x + 36}" y="{y + 4}" fill="{INK}">{text}</text>',
    ]


def _panel(x: int, y: int, title: str, chosen: LrSchedulerSettings) -> list[str]:
    base = y + HEIGHT
    parts = [f'<text x="{x}" y="{y - 8}" fill="{INK}" font-weight="600">{title}</text>']
    for share in (0, 0.5, 1):
        level = base - share * HEIGHT
        parts.append(f'<path d="M{x} {level:g}h{WIDTH}" stroke="{FAINT}"/>')
        parts.append(f'<text x="{x - 6}" y="{level + 4:g}" fill="{INK}" text-anchor="end">{share:g}</text>')
    for epoch in range(0, EPOCHS + 1, 3):
        label = f"epoch {epoch}" if epoch == 0 else str(epoch)
        parts.append(
            f'<text x="{x + epoch / EPOCHS * WIDTH:g}" y="{base + 16}" fill="{INK}" text-anchor="middle">{label}</text>'
        )
    decoder, encoder = rates(chosen)
    return [*parts, _path(decoder, x, base, LINE, ""), _path(encoder, x, base, DASHED, "5 3")]


def _path(values: list[float], x: int, base: int, colour: str, dashes: str) -> str:
    points = [
        (f"{x + (place + 0.5) / len(values) * WIDTH:.1f}", f"{base - value * HEIGHT:.1f}")
        for place, value in enumerate(values)
    ]
    # Where a level stays, its two ends draw it.
    kept = [
        point
        for place, point in enumerate(points)
        if not 0 < place < len(points) - 1 or not points[place - 1][1] == point[1] == points[place + 1][1]
    ]
    line = "L".join(f"{across} {level}" for across, level in kept)
    return f'<path d="M{line}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"/>'


if __name__ == "__main__":
    Path(__file__).with_suffix(".svg").write_text(drawing(), encoding="utf-8")
