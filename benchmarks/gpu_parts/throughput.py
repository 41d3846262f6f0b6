"""Compare the training throughput with tuned Lightning and tuned plain PyTorch."""

from __future__ import annotations

import importlib.util
import statistics

from benchmarks.gpu_parts.setting import Setting
from benchmarks.throughput import OURS, TUNED, measure

LIGHTNING, PLAIN = "lightning, tuned", "plain, tuned"


def run(setting: Setting) -> None:
    """Print one row per network: medians of the rounds in images per second, and the medians of the paired ratios."""
    work, baselines = setting.workload, [PLAIN]
    if importlib.util.find_spec("lightning") is None:
        print("Lightning is skipped, because it is not installed (extra bench).")
    else:
        baselines.insert(0, LIGHTNING)
    print(
        f"images/s, {work.image_size} x {work.image_size} px, batches of {work.batch_size}, "
        f"{setting.num_rounds} rounds; tuned: {TUNED}; Lightning loads images in {work.num_loaders} processes"
    )
    print(f"{'':<46}" + "".join(f"{name:>24}" for name in (OURS, *baselines, *(f"ours / {one}" for one in baselines))))
    for network in setting.networks:
        setting.print_row(network, compare, setting, network, baselines)


def compare(setting: Setting, network: str, baselines: list[str]) -> str:
    """Measure each trainer once per round; return the medians and the median ratios."""
    measured: dict[str, list[float]] = {trainer: [] for trainer in (OURS, *baselines)}
    for _ in range(setting.num_rounds):
        for trainer, values in measured.items():
            values.append(measure(network, trainer, setting.workload))
    medians = "".join(f"{statistics.median(values):>24.1f}" for values in measured.values())
    ratios = (
        statistics.median(a / b for a, b in zip(measured[OURS], measured[baseline], strict=True))
        for baseline in baselines
    )
    return medians + "".join(f"{ratio:>22.2f} x" for ratio in ratios)
