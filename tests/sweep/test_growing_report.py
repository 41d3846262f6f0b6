"""The report that grows while a sweep runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.artifacts.project import COMPARISON, GROWING_REPORT, METRICS, REPORT, RUNS, TEMPLATES, Project
from pipeline.evaluate.evaluate_run import evaluate_run
from pipeline.params import Params
from pipeline.params.file import read_params
from pipeline.report.waiting_page import link_to_report
from pipeline.runtime.progress import EpochProgress
from pipeline.sweep.growing_report import GrowingReport
from pipeline.train.train_cell import train_cell
from tests.conftest import ROOT, write_params

RELOADS = '<meta http-equiv="refresh"'


@pytest.fixture
def params(project: Path) -> Params:
    """Parameters of a prepared project with the runs unet-0.01-0 and unet-0.01-1, which are not trained."""
    (project / TEMPLATES).parent.mkdir(exist_ok=True)
    (project / TEMPLATES).symlink_to(ROOT / TEMPLATES)
    return read_params(write_params(project, {"grid": {"variant": ["unet"], "learning_rate": [0.01]}}))


def train(params: Params, seed: int) -> str:
    cell = params.cell("unet", 0.01, seed)
    train_cell(cell)
    evaluate_run(params, cell.name)
    return cell.name


def read_page() -> str:
    return GROWING_REPORT.read_text(encoding="utf-8")


def test_page_grows_with_each_run_and_is_complete_at_the_end(params: Params) -> None:
    names = [cell.name for cell in params.cells()]
    with GrowingReport(params, Project(), (), names, max_share=float("inf")) as growing:
        growing.wait()
        assert "The first runs are being trained" in read_page()
        assert RELOADS in read_page()
        assert all(name in read_page() for name in names)  # waiting

        growing.show_epoch(EpochProgress(names[1], 1, 2, 0.9, 1.1, 10.0))
        growing.end_run(train(params, 0), is_complete=True)
        growing.wait()
        assert "1 of 2 runs" in read_page()
        assert f"{names[1]}, epoch 1 of 2: training 0.900, validation 1.100" in read_page()
        assert RELOADS in read_page()
        assert "Test scores" not in read_page()

        growing.end_run(train(params, 1), is_complete=True)
    assert "2 of 2 runs" in read_page()
    assert not any(path.exists() for path in (COMPARISON, METRICS, REPORT))  # which only stages write
    link_to_report(Project())
    assert f'url={REPORT.name}"' in read_page()


def test_page_of_a_stopped_sweep_does_not_reload(params: Params) -> None:
    with GrowingReport(params, Project(), (), ["unet-0.01-0", "unet-0.01-1"], max_share=float("inf")) as growing:
        growing.end_run(train(params, 0), is_complete=True)
        growing.end_run("unet-0.01-1", is_complete=False)
    assert RELOADS not in read_page()
    assert "The sweep has stopped" in read_page()
    assert "Failed or stopped: unet-0.01-1" in read_page()


def test_page_is_not_rendered_again_if_that_would_take_too_much_time(params: Params) -> None:
    with GrowingReport(params, Project(), (), ["unet-0.01-0", "unet-0.01-1"], max_share=1e-9) as growing:
        growing.wait()
        growing.end_run(train(params, 0), is_complete=True)
        growing.end_run(train(params, 1), is_complete=True)
        growing.wait()
        assert "The first runs are being trained" in read_page()


def test_broken_template_stops_the_page_but_not_the_sweep(
    params: Params, capsys: pytest.CaptureFixture[str], break_template: Callable[[str], None]
) -> None:
    break_template("waiting.html")
    with GrowingReport(params, Project(), (), ["unet-0.01-0"], max_share=float("inf")) as growing:
        growing.wait()
        growing.end_run(train(params, 0), is_complete=True)
    assert capsys.readouterr().err.count("The report is not updated while the runs train") == 1
    assert (RUNS / "unet-0.01-0").exists()


@pytest.fixture
def break_template(project: Path) -> Callable[[str], None]:
    """A function that replaces a template of the project by an invalid one."""

    def replace(name: str) -> None:
        folder = project / TEMPLATES
        folder.unlink()
        folder.mkdir()
        for file in (ROOT / TEMPLATES).iterdir():
            (folder / file.name).write_text("{% if" if file.name == name else file.read_text(encoding="utf-8"))

    return replace
