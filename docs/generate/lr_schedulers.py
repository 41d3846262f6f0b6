"""Draw docs/images/lr-schedulers.svg: the learning rate of each scheduler at every step of a run.

`make reference` runs it after a change to `pipeline/train/lr_schedulers.py`.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from pipeline.params.train import Constant, Cosine, LrSchedulerSettings, OneCycle, ReduceOnPlateau
from pipeline.train.lr_schedulers import create_lr_scheduler

EPOCHS, STEPS = 12, 20  # steps per epoch
ENCODER_LR_FACTOR = 0.3
VALIDATION = (1.0, 0.8, 0.7, 0.65, 0.66, 0.66, 0.6, 0.61, 0.61, 0.61, 0.61, 0.61)  # an invented loss per epoch
PANELS: tuple[tuple[str, LrSchedulerSettings], ...] = (
    ("constant", Constant(name="constant")),
    ("cosine, warmup_fraction: 0.1", Cosine(name="cosine", warmup_fraction=0.1)),
    ("one_cycle, warmup_fraction: 0.3", OneCycle(name="one_cycle", warmup_fraction=0.3)),
    (
        "reduce_on_plateau, factor: 0.5, patience: 1",
        ReduceOnPlateau(name="reduce_on_plateau", factor=0.5, patience=1),
    ),
)
WIDTH, HEIGHT = 310, 120  # px, plot of a panel
LEFT, TOP, COLUMN_STEP, ROW_STEP = 50, 60, 360, 190  # px
INK, LINE, DASHED, FAINT = "#333333", "#0072b2", "#c04e00", "#d9d9d9"  # on a light background


def compute_learning_rates(settings: LrSchedulerSettings) -> tuple[list[float], list[float]]:
    """Compute the learning rates of decoder and encoder at each step of a run at 1.0."""
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (1.0, ENCODER_LR_FACTOR)]
    optimizer = torch.optim.SGD(groups)
    scheduler = create_lr_scheduler(optimizer, settings, EPOCHS * STEPS)
    steps = []
    for loss in VALIDATION:
        for _ in range(STEPS):
            steps.append(tuple(float(group["lr"]) for group in optimizer.param_groups))
            optimizer.step()
            if not isinstance(scheduler, ReduceLROnPlateau):
                scheduler.step()
        if isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step(loss)
    return [decoder for decoder, _ in steps], [encoder for _, encoder in steps]


def draw() -> str:
    """Draw all panels as SVG."""
    width, height = LEFT + COLUMN_STEP + WIDTH + 30, TOP + ROW_STEP + HEIGHT + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        'font-family="system-ui, sans-serif" font-size="12">',
        "<title>The learning rate over 12 epochs: constant; cosine; one_cycle; reduce_on_plateau</title>",
        f'<rect width="{width}" height="{height}" rx="8" fill="#fafafa"/>',
        *_legend(LEFT, 24, LINE, "", "the cell's learning rate (grid.learning_rate)"),
        *_legend(LEFT + COLUMN_STEP, 24, DASHED, "5 3", f"the encoder's, with encoder_lr_factor: {ENCODER_LR_FACTOR}"),
    ]
    for number, (title, settings) in enumerate(PANELS):
        parts += _panel(LEFT + number % 2 * COLUMN_STEP, TOP + number // 2 * ROW_STEP, title, settings)
    return "\n".join([*parts, "</svg>", ""])


def _legend(x: int, y: int, color: str, dashes: str, text: str) -> list[str]:
    return [
        f'<path d="M{x} {y}h28" stroke="{color}" stroke-width="2" stroke-dasharray="{dashes}"/>',
        f'<text x="{x + 36}" y="{y + 4}" fill="{INK}">{text}</text>',
    ]


def _panel(x: int, y: int, title: str, settings: LrSchedulerSettings) -> list[str]:
    base = y + HEIGHT
    parts = [f'<text x="{x}" y="{y - 8}" fill="{INK}" font-weight="600">{title}</text>']
    for fraction in (0, 0.5, 1):
        level = base - fraction * HEIGHT
        parts.append(f'<path d="M{x} {level:g}h{WIDTH}" stroke="{FAINT}"/>')
        parts.append(f'<text x="{x - 6}" y="{level + 4:g}" fill="{INK}" text-anchor="end">{fraction:g}</text>')
    for epoch in range(0, EPOCHS + 1, 3):
        label = f"epoch {epoch}" if epoch == 0 else str(epoch)
        parts.append(
            f'<text x="{x + epoch / EPOCHS * WIDTH:g}" y="{base + 16}" fill="{INK}" text-anchor="middle">{label}</text>'
        )
    decoder, encoder = compute_learning_rates(settings)
    return [*parts, _path(decoder, x, base, LINE, ""), _path(encoder, x, base, DASHED, "5 3")]


def _path(values: list[float], x: int, base: int, color: str, dashes: str) -> str:
    points = [
        (f"{x + (index + 0.5) / len(values) * WIDTH:.1f}", f"{base - value * HEIGHT:.1f}")
        for index, value in enumerate(values)
    ]
    # The two ends of a constant part are enough.
    kept = [
        point
        for index, point in enumerate(points)
        if not 0 < index < len(points) - 1 or not points[index - 1][1] == point[1] == points[index + 1][1]
    ]
    line = "L".join(f"{left} {top}" for left, top in kept)
    return f'<path d="M{line}" fill="none" stroke="{color}" stroke-width="2" stroke-dasharray="{dashes}"/>'


if __name__ == "__main__":
    (Path(__file__).parents[1] / "images/lr-schedulers.svg").write_text(draw(), encoding="utf-8")
