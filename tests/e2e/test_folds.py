"""A cross-validated grid from the folder of images to the report."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image
from ruamel.yaml import YAML

from pipeline.artifacts.comparison import Summary
from pipeline.artifacts.project import Project
from pipeline.cli import main
from pipeline.compare.compare_runs import compare
from pipeline.errors import PipelineError
from pipeline.evaluate.evaluate_run import evaluate_run
from pipeline.inference.trained_run import TrainedRun
from pipeline.params import Params
from pipeline.params.file import read_params
from pipeline.prepare.prepare_data import prepare
from pipeline.report.context import ReportContext
from pipeline.report.page_context import PageContext
from pipeline.report.run_selection import select_runs
from pipeline.report.sections.examples import build_examples
from pipeline.report.sections.gap_breakdown import build_gap_breakdown
from pipeline.report.write_report import write_report
from pipeline.tracking.run_content import DataSummary
from pipeline.tracking.store import open_client
from pipeline.tracking.tags import GRID_STAGE, SETTING, STAGE
from pipeline.tracking.team_results import read_team_results
from pipeline.train.train_cell import train_cell
from tests.conftest import ROOT, write_params
from tests.discs import DATA, draw_pair

FOLDS = 3
SEEDS = [0, 1, 2, 3]  # fold 0 is validated by two seeds


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("folds")


@pytest.fixture(scope="module")
def params(root: Path) -> Params:
    """The parameters of a project in `root` whose grid is trained, evaluated and compared."""
    for index in range(30):
        for kind, pixels in zip(("images", "masks"), draw_pair(index), strict=True):
            (root / "discs" / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(root / "discs" / kind / f"p{index // 2:02}_{index % 2}.png")
    path = write_params(root, {"train": {"epochs": 1}, "grid": {"seed": SEEDS}})
    yaml = YAML(typ="safe")
    content = yaml.load(path.read_text(encoding="utf-8"))
    splits = {"validation": 0.2, "test": 0.2, "folds": FOLDS, "group_regex": "^(p[0-9]+)_"}
    content["data"] = {**DATA, "image_size": 32, "splits": splits}
    content["grid"] |= {"variant": ["unet"], "learning_rate": [0.01, 0.001]}
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(content, file)
    (root / "reports").symlink_to(ROOT / "reports")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        params = read_params(path)
        prepare(params)
        for cell in params.cells():
            train_cell(cell)
            evaluate_run(params, cell.name)
        compare(params)
    return params


@pytest.fixture
def project(root: Path, params: Params, monkeypatch: pytest.MonkeyPatch) -> Project:
    assert params.folds == FOLDS
    monkeypatch.chdir(root)
    return Project()


@pytest.fixture
def summary(project: Project) -> Summary:
    return project.comparison.summary


def list_learned(project: Project) -> set[str]:
    samples = project.prepared.samples
    return set(samples.loc[samples["split"] == "train", "id"])


def test_every_image_is_validated_by_a_network_that_was_not_trained_on_it(project: Project, params: Params) -> None:
    validated: dict[int, set[str]] = {}
    for cell in params.cells():
        rows = project.evaluation(cell.name).read_per_image()
        by_split = {split: set(rows.loc[rows["split"] == split, "id"]) for split in ("train", "validation")}
        assert by_split["train"] | by_split["validation"] == list_learned(project)
        assert not by_split["train"] & by_split["validation"]
        assert cell.fold == cell.seed % FOLDS
        assert validated.setdefault(cell.seed % FOLDS, by_split["validation"]) == by_split["validation"]
    assert sum(map(len, validated.values())) == len(list_learned(project))


def test_comparison_covers_the_images_of_all_folds(project: Project, summary: Summary) -> None:
    assert summary.folds == FOLDS
    assert [row.fold for row in summary.runs] == [seed % FOLDS for seed in SEEDS] * 2
    num_images = len(list_learned(project))
    assert {row.validated_images for row in summary.settings} == {num_images}
    for row in summary.settings:
        assert row.folded_gap is not None
        assert row.folded_gap_low is not None
        assert row.folded_gap_high is not None
        assert row.folded_gap_low <= row.folded_gap <= row.folded_gap_high
    metrics = project.comparison.metrics
    images = metrics.loc[(metrics["split"] == "validation") & (metrics["metric"] == "image_dice"), "images"]
    assert images.max() <= num_images
    assert (images > num_images / 2).all()
    masks = project.comparison.suspicious_masks
    assert set(masks["split"]) == {"validation"}
    assert masks["id"].is_unique
    assert set(masks["id"]) == list_learned(project)
    assert "folded_gap" in [finding.id for finding in project.comparison.findings]


def test_confusion_covers_the_pixels_of_all_folds(project: Project) -> None:
    samples = project.prepared.samples
    pixels = samples.loc[samples["split"] == "train", "pixels"].sum()
    confusion = pd.read_csv(project.comparison.path / project.comparison.CONFUSION)
    assert confusion["pixels"].sum() == pixels
    assert confusion.groupby("actual")["share"].sum().to_numpy() == pytest.approx(1)


def test_compared_runs_share_their_validation_images(summary: Summary) -> None:
    assert len({summary.get_run(best.run).fold for best in summary.best_of_variant}) == 1


def test_report_describes_the_folds(params: Params, project: Project) -> None:
    page = write_report(params).path.read_text(encoding="utf-8")
    assert f"{len(list_learned(project))} images in {FOLDS} folds" in page
    assert f"{len(SEEDS)} runs in {FOLDS} folds" in page
    assert "validation images of all folds" in page


def read_validated(project: Project, runs: list[str]) -> pd.DataFrame:
    """Read the losses of the images that each of the runs validated, with a column `run`."""
    tables = [project.evaluation(run).read_per_image().assign(run=run) for run in runs]
    return pd.concat(table[table["split"] == "validation"] for table in tables)


def test_report_shows_the_best_and_worst_images_of_all_folds(
    params: Params, project: Project, summary: Summary
) -> None:
    assert summary.best is not None
    context = PageContext(project, params.data, select_runs(summary, None))
    runs = summary.list_fold_runs(summary.best)
    validated = read_validated(project, runs).sort_values("loss")
    examples = build_examples(context)
    assert not examples.problems
    best, worst = validated.iloc[0], validated.iloc[-1]
    notes = {sample.id: sample.note for sample in examples.extremes}
    assert next(iter(notes)) == best["id"]
    assert notes[best["id"]].startswith("best")
    assert notes[worst["id"]].startswith("worst")
    assert {row.run in notes[row.id] or row.run == examples.leading_run for row in (best, worst)} == {True}
    gap = build_gap_breakdown(context)
    assert not gap.problems
    assert {sample.id for sample in gap.worst} <= set(validated["id"])
    groups = validated.merge(project.prepared.samples[["id", "groups", "pixels"]], on="id")
    groups["sum"] = groups["loss"] * groups["pixels"]
    losses = groups.groupby("groups")[["sum", "pixels"]].sum().pipe(lambda table: table["sum"] / table["pixels"])
    for kind, name, _, val_loss, _ in gap.groups:
        assert val_loss == pytest.approx(losses[f"{kind}={name}"], rel=1e-4)
    everything = gap.classes[-1].numbers
    assert everything[2] == pytest.approx(np.mean([summary.get_run(run).gap for run in runs]))


def test_masks_are_checked_by_runs_that_were_not_trained_on_them(project: Project, summary: Summary) -> None:
    for row in summary.runs:
        evaluation = project.evaluation(row.run)
        validated = set(read_validated(project, [row.run])["id"])
        assert set(evaluation.read_contradictions()["id"]) == validated
        contradicted = [name for name in list_learned(project) if evaluation.read_contradicted(name) is not None]
        assert set(contradicted) <= validated


def test_report_finds_the_images_of_all_folds(params: Params, project: Project) -> None:
    context = ReportContext(project, params.data)
    everything = project.prepared.open_split("train")
    for sample, image in zip(everything.ids, everything.images, strict=True):
        assert np.array_equal(context.read_sample_by_id(sample)[0], image)
    with pytest.raises(PipelineError, match="no image unknown"):
        context.find_sample("unknown")


def test_a_run_of_a_fold_predicts(params: Params, project: Project, summary: Summary) -> None:
    assert summary.best is not None
    trained = TrainedRun.load(params, summary.best.run, project)
    counts = DataSummary.read(project).counts
    assert [count["train"] + count["validation"] for count in counts] == [len(list_learned(project))] * FOLDS
    fold = summary.get_run(summary.best.run).fold
    assert fold is not None
    assert trained.num_train_images == counts[fold]["train"]
    (probs,) = trained.predict_batch([np.zeros((32, 32, 3), np.uint8)])
    assert probs.shape == (2, 32, 32)


def test_sync_logs_the_runs_of_all_folds(
    params: Params, project: Project, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(store, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    result = CliRunner().invoke(main, ["sync"])
    assert result.exit_code == 0, result.output
    client = open_client(uri)
    (experiment,) = [one for one in client.search_experiments() if one.name == params.tracking.experiment]
    runs = [run for run in client.search_runs([experiment.experiment_id]) if run.data.tags[STAGE] != GRID_STAGE]
    assert len(runs) == len([*params.cells()])
    settings = Counter(run.data.tags[SETTING] for run in runs)
    assert set(settings.values()) == {len(SEEDS)}
    results = read_team_results(params.tracking, project.prepared.dataset.fingerprint, "val_loss").results
    assert set(Counter(one.setting for one in results).values()) == {len(SEEDS)}


def test_params_command_accepts_folds(project: Project) -> None:
    assert CliRunner().invoke(main, ["params"]).exit_code == 0
