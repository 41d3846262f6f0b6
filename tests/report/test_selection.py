"""Which runs a selection means, and what it says of a wrong one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline import runs
from pipeline.errors import PipelineError
from pipeline.report.run_selection import LONGEST_NAME, select_runs

if TYPE_CHECKING:
    from tests.report.conftest import Project


def test_nothing_and_all_choose_every_run_but_write_different_files(project: Project) -> None:
    every = tuple(row.run for row in project.summary.runs)
    stage, everything = select_runs(project.summary, None), select_runs(project.summary, "all")
    assert stage.names == everything.names == every
    assert (stage.out, everything.out) == (runs.REPORT, Path("reports/all.html"))


def test_best_is_the_best_of_the_grid(project: Project) -> None:
    chosen = select_runs(project.summary, "best")
    assert project.summary.best is not None
    assert (chosen.names, chosen.out) == ((project.summary.best.run,), Path("reports/best.html"))


def test_names_come_in_the_order_of_the_grid_and_name_the_file(project: Project) -> None:
    chosen = select_runs(project.summary, " unet_no_skip-0.001-0, unet-0.01-1,unet-0.01-1")
    assert chosen.names == ("unet-0.01-1", "unet_no_skip-0.001-0")
    assert chosen.out == Path("reports/unet-0.01-1+unet_no_skip-0.001-0.html")


def test_many_names_are_shortened_but_stay_apart(project: Project) -> None:
    names = [row.run for row in project.summary.runs]
    one, other = (select_runs(project.summary, ",".join(some)).out.stem for some in (names, names[:-1]))
    assert len(one) == len(other) == LONGEST_NAME
    assert one != other


def test_an_unknown_name_is_answered_with_the_nearest_first(project: Project) -> None:
    with pytest.raises(PipelineError, match=r"no run 'unet-0\.1-1'.*there is unet-0\.01-1, "):
        select_runs(project.summary, "unet-0.1-1")


@pytest.mark.parametrize("selection", ["", " , "])
def test_an_empty_selection_says_what_there_is(project: Project, selection: str) -> None:
    with pytest.raises(PipelineError, match=r"names no run.*unet-0\.01-0"):
        select_runs(project.summary, selection)


def test_best_of_an_unranked_grid_and_an_empty_grid_are_refused(project: Project) -> None:
    with pytest.raises(PipelineError, match="No run is the best"):
        select_runs(replace(project.summary, best=None), "best")
    with pytest.raises(PipelineError, match="holds no runs"):
        select_runs(replace(project.summary, runs=()), None)


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ("unet-*", ["unet-0.01-0", "unet-0.01-1", "unet-0.001-0", "unet-0.001-1"]),
        ("*-0.001-?", ["unet-0.001-0", "unet-0.001-1", "unet_no_skip-0.001-0", "unet_no_skip-0.001-1"]),
        ("unet-0.01-1, *skip-0.01-0", ["unet-0.01-1", "unet_no_skip-0.01-0"]),
        ("variant=unet,learning_rate<=1e-3", ["unet-0.001-0", "unet-0.001-1"]),
        ("seed!=0, variant=unet", ["unet-0.01-1", "unet-0.001-1"]),
        ("status=diverged", ["unet_no_skip-0.01-1"]),
        ("verdict=memorising,variant!=unet,seed=0", ["unet_no_skip-0.01-0", "unet_no_skip-0.001-0"]),
    ],
)
def test_patterns_and_comparisons(project: Project, selection: str, expected: list[str]) -> None:
    assert list(select_runs(project.summary, selection).names) == expected


def test_a_number_that_a_run_has_not_meets_nothing(project: Project) -> None:
    every = {row.run for row in project.summary.runs}
    both = {*select_runs(project.summary, "val_loss<0.3").names, *select_runs(project.summary, "val_loss>=0.3").names}
    assert every - both == {"unet_no_skip-0.01-1"}  # it diverged


def test_the_best_rates_are_shown_by_their_median_runs(project: Project) -> None:
    ranked = sorted((rate for rate in project.summary.rates if rate.ranked), key=lambda rate: rate.val_loss_mean or 0)
    chosen = select_runs(project.summary, "best:2")
    assert set(chosen.names) == {rate.run for rate in ranked[:2]}
    assert chosen.out == Path("reports/best-2.html")
    assert len(select_runs(project.summary, "best:99").names) == 3  # the fourth rate has a diverged seed


@pytest.mark.parametrize(
    ("selection", "said"),
    [
        ("best:0", "whole number from 1 on"),
        ("best:many", "whole number from 1 on"),
        ("variant=vnet", "No run has variant=vnet; there is unet-0.01-0"),
        ("learning_rat=0.1", "runs have no learning_rat; did you mean learning_rate?"),
        ("seed=one", "seed is a number, but is compared with 'one'"),
        ("variant<unet", "words are compared with = or != only"),
        ("variant=", "'variant=' is no comparison"),
        ("seed=0,unet-0.01-0", "'unet-0.01-0' is no comparison"),
        ("vnet-*", "no run 'vnet-*'"),
    ],
)
def test_what_means_no_run_is_told(project: Project, selection: str, said: str) -> None:
    with pytest.raises(PipelineError) as caught:
        select_runs(project.summary, selection)
    assert said in str(caught.value)
