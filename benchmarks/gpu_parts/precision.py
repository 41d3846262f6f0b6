"""Compare training in bfloat16 with training in float32."""

from __future__ import annotations

import statistics

from benchmarks.gpu_parts.setting import Setting
from benchmarks.precision import PRECISIONS, train_seeds
from benchmarks.project import link_prepared_data
from pipeline.params.file import read_params

VARIANTS = ("unet", "lite0")


def run(setting: Setting) -> None:
    """Print the lowest validation loss of each seed, and the difference between the precisions, per variant."""
    print("lowest validation loss of each seed; on a GPU, convolutions in float32 use TF32")
    for variant in VARIANTS:
        setting.print_row(variant, compare, setting, variant)


def compare(setting: Setting, variant: str) -> str:
    """Train all seeds in both precisions."""
    root = setting.project.with_name(f"precision-{variant}")
    link_prepared_data(setting.project, root)
    losses = train_seeds(read_params(setting.project / "params.yaml"), variant, root)
    columns = "  ".join(f"{name} {' '.join(f'{loss:.4f}' for loss in losses[name])}" for name in PRECISIONS)
    float32, bfloat16 = (losses[name] for name in PRECISIONS)
    difference = statistics.mean(b - a for a, b in zip(float32, bfloat16, strict=True))
    spread = max(float32) - min(float32)
    verdict = "within" if abs(difference) <= spread else "outside"
    return f"{columns}  mean difference {difference:+.4f}, {verdict} the range of the float32 seeds, {spread:.4f}"
