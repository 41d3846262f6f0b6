"""How long a page takes and how large it is, for a grid as it ships and for a thousand runs.

    python benchmarks/report.py

The runs are made up, by the generator that the tests use: 27 of 10 epochs, and 1,008 (28 variants, 12 rates, 3 seeds)
of 30; images have 96 x 96 pixels. Each page is rendered by a process of its own, whose largest memory is given; where
there is a Chromium, it also says how long that takes to show the page. Writing the made-up runs is not counted.
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
GRIDS = {"as it ships": (3, 3, 10), "a thousand runs": (28, 12, 30)}  # variants, rates, epochs; three seeds each


def measure(shape: tuple[int, int, int]) -> tuple[int, float, float, float, float]:
    """Runs, seconds to render, megabytes of the page, gigabytes of memory, seconds to show (0: no Chromium)."""
    sys.path.insert(0, str(ROOT))
    from pipeline.artifacts.project import Project
    from pipeline.report.render_report import render_report
    from tests.report.conftest import ReportProject

    variants, rates, epochs = shape
    with tempfile.TemporaryDirectory() as folder:
        project = ReportProject(
            Path(folder),
            variants=tuple(f"variant_{number}" for number in range(variants)),
            rates=tuple(10 ** -(1 + number / 4) for number in range(rates)),
            seeds=(0, 1, 2),
            size=96,
            epochs=epochs,
            diverged="",
        )
        begin = time.perf_counter()
        page = render_report(project.params, project=Project(project.root)).path
        seconds = time.perf_counter() - begin
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # Linux counts in kilobytes
        return len(project.rows), seconds, page.stat().st_size / 1e6, memory, shown(page)


def shown(page: Path) -> float:
    """Seconds until a browser has loaded the page."""
    browser = shutil.which("chromium")
    if browser is None:
        return 0.0
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        tab = launched.new_page(viewport={"width": 1280, "height": 900})
        begin = time.perf_counter()
        tab.goto(page.as_uri())
        seconds = time.perf_counter() - begin
        launched.close()
    return seconds


def main() -> None:
    """Print a row a grid."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print(f"{'':18}{'runs':>6}{'rendered':>10}{'page':>9}{'memory':>9}{'shown':>8}")
    context = multiprocessing.get_context("spawn")
    for name, shape in GRIDS.items():
        with context.Pool(1) as pool:
            runs, seconds, size, memory, browser = pool.apply(measure, (shape,))
        print(f"{name:18}{runs:>6}{seconds:>8.1f} s{size:>6.1f} MB{memory:>6.2f} GB{browser:>6.1f} s")


if __name__ == "__main__":
    main()
