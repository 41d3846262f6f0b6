"""Learning curves of a grid, and the finding on more images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.analysis.ranked_metric import get_metric
from pipeline.artifacts.comparison import RunSummary, Summary
from pipeline.artifacts.learning_curve import LearningCurve
from pipeline.artifacts.project import Project
from pipeline.compare.compare_runs import compare
from pipeline.compare.learning_curves import fit_learning_curves, report_more_images
from pipeline.compare.summary_tables import summarize_settings
from pipeline.params import Params
from pipeline.params.file import read_params
from pipeline.study.compose import compose, find_preset
from tests.compare.summaries import make_runs, make_summary
from tests.compare.test_compare import write_run
from tests.conftest import ROOT, write_params

MakeParams = Callable[[dict[str, Any]], Params]

LOSS = get_metric("val_loss", ("animal",), ())
LOSSES = {20: 0.60, 40: 0.45, 80: 0.36, 160: 0.30}
SPREAD = (-0.004, 0.0, 0.004)


def make_rows(params: Params, losses: Mapping[str, float]) -> list[RunSummary]:
    """Make runs with a given loss per variant that varies between seeds."""
    by_setting = {
        (variant, rate): [losses[variant] + SPREAD[seed] for seed in params.grid.seed]
        for variant in params.grid.variant
        for rate in params.grid.learning_rate
    }
    return make_runs(by_setting, params.grid.seed, params.folds)


def find_curves(params: Params, losses: Mapping[str, float], available: int = 400) -> list[LearningCurve]:
    rows = make_rows(params, losses)
    return fit_learning_curves(params.cells(), rows, summarize_settings(rows, LOSS), {None: available})


def make_grid(params_with: MakeParams, **variants: dict[str, Any]) -> Params:
    return params_with(
        {
            "data": {"samples": {"train": 400}},
            "variants": variants,
            "grid": {"variant": [*variants], "learning_rate": [0.01], "seed": [0, 1, 2]},
        }
    )


def limit_images(count: int | None, epochs: int, **train: object) -> dict[str, Any]:
    return {"data": {"max_train_images": count}, "train": {"epochs": epochs, **train}}


def test_study_of_training_images_has_a_learning_curve() -> None:
    params = compose(find_preset("training_images", ROOT), ROOT).params
    (curve,) = find_curves(params, {f"images_{count}": loss for count, loss in LOSSES.items()})
    assert curve.images == tuple(LOSSES)
    assert curve.variants == ("images_20", "images_40", "images_80", "images_160")
    assert curve.means == pytest.approx(tuple(LOSSES.values()))
    assert curve.fit is not None
    assert curve.fit.prediction.images == 320
    assert curve.fit.prediction.loss < LOSSES[160]
    assert curve.is_confirmed


def test_default_grid_has_no_learning_curve() -> None:
    params = read_params(ROOT / "params.yaml")
    assert find_curves(params, {"unet": 0.5, "lite0": 0.2, "lite0_20_images": 0.4}) == []


def test_settings_with_equal_epochs_are_a_curve_that_includes_all_images(params_with: MakeParams) -> None:
    params = make_grid(
        params_with, few=limit_images(50, 4), half=limit_images(200, 4), everything=limit_images(None, 4)
    )
    (curve,) = find_curves(params, {"few": 0.5, "half": 0.4, "everything": 0.35})
    assert curve.images == (50, 200, 400)
    assert curve.variants == ("few", "half", "everything")


def test_number_of_images_is_the_mean_over_the_folds(params_with: MakeParams) -> None:
    params = make_grid(params_with, few=limit_images(30, 4), half=limit_images(50, 4), everything=limit_images(None, 4))
    cells = [cell.model_copy(update={"fold": cell.seed}) for cell in params.cells()]
    rows = make_rows(params, {"few": 0.5, "half": 0.4, "everything": 0.35})
    (curve,) = fit_learning_curves(cells, rows, summarize_settings(rows, LOSS), {0: 40, 1: 90, 2: 92})
    assert curve.images == (30, 47, 74)  # 40 of the 50 images in the first fold
    assert curve.available == 74


@pytest.mark.parametrize(
    "third",
    [
        limit_images(160, 30),  # neither as many epochs nor as many samples
        limit_images(160, 10, label_smoothing=0.1),
        {**limit_images(160, 10), "model": {"norm": "group"}},
        limit_images(80, 20),  # only two training-set sizes
    ],
)
def test_settings_that_differ_otherwise_are_no_curve(params_with: MakeParams, third: dict[str, Any]) -> None:
    params = make_grid(params_with, a=limit_images(40, 40), b=limit_images(80, 20), c=third)
    assert find_curves(params, {"a": 0.5, "b": 0.4, "c": 0.3}) == []


def test_curve_with_the_lowest_loss_is_first(params_with: MakeParams) -> None:
    variants = {f"smooth_{count}": limit_images(count, 10, label_smoothing=0.1) for count in (40, 80, 160)}
    variants |= {f"sharp_{count}": limit_images(count, 10) for count in (40, 80, 160)}
    losses = {name: LOSSES[int(name.split("_")[1])] + (0.1 if "smooth" in name else 0) for name in variants}
    curves = find_curves(make_grid(params_with, **variants), losses)
    assert [curve.variants[0] for curve in curves] == ["sharp_40", "smooth_40"]


def test_unranked_setting_is_left_out(params_with: MakeParams) -> None:
    params = make_grid(params_with, **{f"v{count}": limit_images(count, 10) for count in LOSSES})
    rows = make_rows(params, {f"v{count}": loss for count, loss in LOSSES.items()})
    rows = [replace(row, val_loss=None, status="failed") if row.run == "v80-0.01-1" else row for row in rows]
    (curve,) = fit_learning_curves(params.cells(), rows, summarize_settings(rows, LOSS), {None: 400})
    assert curve.images == (20, 40, 160)


def describe(params: Params, losses: Mapping[str, float], available: int = 400) -> str:
    summary = summarize(params, losses, available)
    finding = report_more_images(summary)
    assert finding is not None
    assert set(finding.runs) == {cell.name for cell in params.cells()}
    return finding.sentence


def summarize(params: Params, losses: Mapping[str, float], available: int = 400) -> Summary:
    rows = make_rows(params, losses)
    curves = fit_learning_curves(params.cells(), rows, summarize_settings(rows, LOSS), {None: available})
    return replace(make_summary({("unet", 0.1): [0.5]}), runs=tuple(rows), learning_curves=tuple(curves))


def test_finding_states_prediction_check_and_next_step(params_with: MakeParams) -> None:
    params = make_grid(params_with, **{f"v{count}": limit_images(count, 10) for count in LOSSES})
    losses = {f"v{count}": loss for count, loss in LOSSES.items()}
    sentence = describe(params, losses)
    assert "with 320 training images instead of 160, the validation loss of v160 at 0.01 would be about 0.2" in sentence
    assert "Fitted without the losses at 160 images, the law predicts 0." in sentence
    assert "which agrees" in sentence
    assert sentence.endswith("test it with data.max_train_images: 320.")
    assert "data.max_train_images" not in describe(params, losses, available=200)


def test_finding_warns_of_a_law_that_was_wrong(params_with: MakeParams) -> None:
    params = make_grid(params_with, **{f"v{count}": limit_images(count, 10) for count in LOSSES})
    sentence = describe(params, {"v20": 0.60, "v40": 0.45, "v80": 0.36, "v160": 0.36})
    assert "which is wrong: do not rely on it" in sentence


def test_finding_of_three_numbers_is_not_checked(params_with: MakeParams) -> None:
    params = make_grid(params_with, **{f"v{count}": limit_images(count, 10) for count in (40, 80, 160)})
    assert "was not checked" in describe(params, {"v40": 0.45, "v80": 0.36, "v160": 0.30})


def test_finding_states_why_there_is_no_prediction(params_with: MakeParams) -> None:
    params = make_grid(params_with, **{f"v{count}": limit_images(count, 10) for count in (40, 80, 160)})
    sentence = describe(params, {"v40": 0.36, "v80": 0.45, "v160": 0.30})
    assert sentence.endswith("cannot be predicted from v40, v80 and v160 at 0.01: the loss rises from 40 to 80 images.")


def test_compare_fits_the_curves_of_a_grid_only(project: Path) -> None:
    variants = {f"v{count}": limit_images(count, 2) for count in (3, 6, 12)}
    grid = {"variant": [*variants], "learning_rate": [0.01], "seed": [0, 1, 2]}
    params = read_params(write_params(project, {"variants": variants, "grid": grid}))
    for cell in params.cells():
        write_run(project, cell, {3: 0.6, 6: 0.45, 12: 0.36}[cell.max_train_images or 0] + SPREAD[cell.seed])
    (curve,) = compare(params).learning_curves
    assert (curve.images, curve.available) == ((3, 6, 12), 12)
    assert "more_images" in {one.id for one in Project(project).comparison.findings}
    assert compare(params, cells=params.cells()).learning_curves == ()
    assert not {"more_images", "settle_variant"} & {one.id for one in Project(project).comparison.findings}
