"""Measure the time and memory to render the report, and its size, for 27, 1,008 and 10,000 runs.

    python -m benchmarks.report

The runs are synthetic and written by code of the tests: 27 runs of 10 epochs, 1,008 runs of 30 epochs (28 variants, 12
learning rates, 3 seeds), and 10,000 runs of 10 epochs (100 variants, 10 learning rates, 10 seeds), with images of
96 x 96 px. The time to write them is not included. Each report is rendered
in a new process, whose peak memory is printed. If Chromium is installed, the time to load the page is measured too.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
GRIDS = {  # variants, learning rates, seeds, epochs
    "default grid": (3, 3, 3, 10),
    "large grid": (28, 12, 3, 30),
    "very large grid": (100, 10, 10, 10),
}


def measure_grid(shape: tuple[int, int, int, int]) -> tuple[int, float, float, float, float]:
    """Render the report of a grid of this shape: numbers of variants, learning rates, seeds and epochs.

    Returns:
        The number of runs, the seconds to render the report, its size in MB, the peak memory in GB, and the seconds to
        load the page.
    """
    sys.path.insert(0, str(ROOT))
    from pipeline.artifacts.project import Project
    from pipeline.report.write_report import write_report
    from tests.report.conftest import ReportProject

    num_variants, num_learning_rates, num_seeds, epochs = shape
    with tempfile.TemporaryDirectory() as folder:
        project = ReportProject(
            Path(folder),
            variants=tuple(f"variant_{number}" for number in range(num_variants)),
            learning_rates=tuple(10 ** -(1 + number / 4) for number in range(num_learning_rates)),
            seeds=tuple(range(num_seeds)),
            size=96,
            epochs=epochs,
            diverged="",
        )
        start = time.perf_counter()
        page = write_report(project.params, project=Project(project.root)).path
        seconds = time.perf_counter() - start
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # kilobytes on Linux
        return len(project.rows), seconds, page.stat().st_size / 1e6, memory, measure_loading(page)


def measure_loading(page: Path) -> float:
    """Return the seconds until Chromium has loaded the page; 0 if Chromium is not installed."""
    executable = shutil.which("chromium")
    if executable is None:
        return 0.0
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        start = time.perf_counter()
        tab.goto(page.as_uri())
        seconds = time.perf_counter() - start
        browser.close()
    return seconds


def main() -> None:
    """Print one row per grid."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print(f"{'':18}{'runs':>6}{'render':>10}{'size':>9}{'memory':>9}{'load':>8}")
    context = multiprocessing.get_context("spawn")
    for name, shape in GRIDS.items():
        with context.Pool(1) as pool:
            num_runs, seconds, size, memory, load_seconds = pool.apply(measure_grid, (shape,))
        print(f"{name:18}{num_runs:>6}{seconds:>8.1f} s{size:>6.1f} MB{memory:>6.2f} GB{load_seconds:>6.1f} s")


if __name__ == "__main__":
    main()
