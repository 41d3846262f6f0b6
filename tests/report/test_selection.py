"""Which runs a selection means, and what it says of a wrong one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline import runs
from pipeline.errors import PipelineError
from pipeline.report.selection import LONGEST_NAME, choose

if TYPE_CHECKING:
    from tests.report.conftest import Project


def test_nothing_and_all_choose_every_run_but_write_different_files(project: Project) -> None:
    every = tuple(row.run for row in project.summary.runs)
    stage, everything = choose(project.summary, None), choose(project.summary, "all")
    assert stage.names == everything.names == every
    assert (stage.out, everything.out) == (runs.REPORT, Path("reports/all.html"))


def test_best_is_the_best_of_the_grid(project: Project) -> None:
    chosen = choose(project.summary, "best")
    assert project.summary.best is not None
    assert (chosen.names, chosen.out) == ((project.summary.best.run,), Path("reports/best.html"))


def test_names_come_in_the_order_of_the_grid_and_name_the_file(project: Project) -> None:
    chosen = choose(project.summary, " unet_no_skip-0.001-0, unet-0.01-1,unet-0.01-1")
    assert chosen.names == ("unet-0.01-1", "unet_no_skip-0.001-0")
    assert chosen.out == Path("reports/unet-0.01-1+unet_no_skip-0.001-0.html")


def test_many_names_are_shortened_but_stay_apart(project: Project) -> None:
    names = [row.run for row in project.summary.runs]
    one, other = (choose(project.summary, ",".join(some)).out.stem for some in (names, names[:-1]))
    assert len(one) == len(other) == LONGEST_NAME
    assert one != other


def test_an_unknown_name_is_answered_with_the_nearest_first(project: Project) -> None:
    with pytest.raises(PipelineError, match=r"no run 'unet-0\.1-1'.*there is unet-0\.01-1, "):
        choose(project.summary, "unet-0.1-1")


@pytest.mark.parametrize("selection", ["", " , "])
def test_an_empty_selection_says_what_there_is(project: Project, selection: str) -> None:
    with pytest.raises(PipelineError, match=r"names no run.*unet-0\.01-0"):
        choose(project.summary, selection)


def test_best_of_an_unranked_grid_and_an_empty_grid_are_refused(project: Project) -> None:
    with pytest.raises(PipelineError, match="No run is the best"):
        choose(replace(project.summary, best=None), "best")
    with pytest.raises(PipelineError, match="holds no runs"):
        choose(replace(project.summary, runs=()), None)
