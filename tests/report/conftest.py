"""A small project with the files of all stages, written without training."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from pipeline.analysis.metrics import ImageMetrics, tabulate_metrics
from pipeline.artifacts.comparison import BestSetting, Finding, Judgment, RunSummary, SettingSummary, Summary
from pipeline.artifacts.ensemble_folder import (
    EnsembleCost,
    EnsembleExample,
    EnsembleMember,
    EnsembleRecord,
    EnsembleScore,
    Temperature,
    UncertaintyMaps,
    UnscaledScores,
    compute_ensemble_key,
)
from pipeline.artifacts.evaluation_folder import ClassPixels, RunEvaluation
from pipeline.artifacts.format import FORMAT
from pipeline.artifacts.prepared_data import SHOWCASE, Dataset, DatasetStats, SegmentationClass
from pipeline.artifacts.project import TEMPLATES, Project
from pipeline.artifacts.run_folder import RunRecord
from pipeline.artifacts.scores import Calibration, Scores
from pipeline.atomic_io import to_json, write_text
from pipeline.imaging import IGNORE
from pipeline.params import Params
from pipeline.params.file import read_params
from pipeline.report.page_context import PageContext
from pipeline.report.render_html import render_html
from pipeline.report.run_selection import select_runs
from pipeline.report.sections.header import build_header
from pipeline.report.write_report import Page

REPOSITORY = Path(__file__).resolve().parents[2]
CLASSES = (
    SegmentationClass("pet", "#d98c21", True),
    SegmentationClass("background", "#2e5a6b", False),
    SegmentationClass("border", "#e9dfc7", False),
)
BASELINE = 0.93
COUNTS = {"train": 6, "validation": 4, "test": 4, SHOWCASE: 1}

Painter = Callable[[str, int, int], tuple[np.ndarray, np.ndarray]]  # split, row, size -> image, mask


def draw_disc(split: str, row: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw a bright disc with a border on a dark background."""
    rng = np.random.default_rng([row, *split.encode()])
    y, x = np.indices((size, size))
    center = size / 2 + rng.uniform(-size / 8, size / 8, 2)
    distance = np.hypot(y - center[0], x - center[1]) - size * rng.uniform(0.2, 0.32)
    mask = np.where(distance < 0, 0, np.where(distance < size / 16, 2, 1)).astype(np.uint8)
    mask[0, 0] = IGNORE
    image = np.where(distance[..., None] < 0, (205, 160, 90), (60, 90, 70)) + rng.integers(-25, 25, (size, size, 3))
    return image.clip(0, 255).astype(np.uint8), mask


def perturb_mask(mask: np.ndarray, amount: float, seed: int) -> np.ndarray:
    """Shift a mask and add holes to imitate a prediction; a larger amount changes more pixels."""
    size = mask.shape[0]
    rng = np.random.default_rng(seed)
    shift = tuple(int(v) for v in np.round(rng.normal(0, amount * size / 5, 2)))
    out = np.roll(np.where(mask == IGNORE, 1, mask), shift, (0, 1))
    for value in (0, 1):
        y, x = np.indices(mask.shape)
        center, radius = rng.uniform(0.1, 0.9, 2) * size, amount * size / 3
        out[np.hypot(y - center[0], x - center[1]) < radius] = value
    return out.astype(np.uint8)


def compute_iou(prediction: np.ndarray, ground_truth: np.ndarray, index: int) -> float | None:
    predicted, actual = prediction == index, ground_truth == index
    union = int(((predicted | actual) & (ground_truth != IGNORE)).sum())
    return int((predicted & actual).sum()) / union if actual.any() else None


@cache
def read_shipped_params() -> Params:
    return read_params(REPOSITORY / "params.yaml")


class ReportProject:
    """A project folder with every file that the report reads."""

    def __init__(
        self,
        root: Path,
        variants: tuple[str, ...] = ("unet", "unet_no_skip"),
        learning_rates: tuple[float, ...] = (0.01, 0.001),
        seeds: tuple[int, ...] = (0, 1),
        size: int = 32,
        epochs: int = 5,
        paint: Painter = draw_disc,
        classes: tuple[SegmentationClass, ...] = CLASSES,
        source: str = "drawn discs",
        diverged: str = "unet_no_skip-0.01-1",
    ) -> None:
        self.root, self.size, self.epochs, self.diverged = root, size, epochs, diverged
        self.variants, self.learning_rates, self.seeds, self.classes = variants, learning_rates, seeds, classes
        (root / TEMPLATES).parent.mkdir(parents=True)
        (root / TEMPLATES).symlink_to(REPOSITORY / TEMPLATES)
        shipped = read_shipped_params()
        grid = {"learning_rate": list(learning_rates), "seed": list(seeds)}
        self.params: Params = shipped.model_copy(update={"grid": shipped.grid.model_copy(update=grid)})
        shutil.copy(REPOSITORY / self.params.report.notes_file, root / self.params.report.notes_file)
        self.project = Project(root)
        self.masks: dict[tuple[str, int], np.ndarray] = {}
        self.curves: list[tuple[object, ...]] = []
        self.gap_parts: list[tuple[object, ...]] = []
        self._write_prepared_data(paint, source)
        self.rows = [self._write_run(v, r, s) for v in variants for r in learning_rates for s in seeds]
        self._write_comparison()
        self._write_ensemble()

    def copy_to(self, root: Path) -> ReportProject:
        """Copy the project, which is five times as fast as to write it."""
        shutil.copytree(self.root, root, symlinks=True, dirs_exist_ok=True)
        copied = copy.copy(self)
        copied.root, copied.project = root, Project(root)
        copied.masks, copied.curves, copied.gap_parts = dict(self.masks), list(self.curves), list(self.gap_parts)
        copied.rows = list(self.rows)
        return copied

    def ids(self, split: str) -> list[str]:
        return [f"{split}-{row:04d}" for row in range(COUNTS[split])]

    def _write_prepared_data(self, paint: Painter, source: str) -> None:
        samples: list[list[str]] = []
        with self.project.prepared.replace() as prepared:
            for split in COUNTS:
                pairs = [paint(split, row, self.size) for row in range(COUNTS[split])]
                images, masks = prepared.array_paths(split)
                images.parent.mkdir()
                np.save(images, np.stack([image for image, _ in pairs]))
                np.save(masks, np.stack([mask for _, mask in pairs]))
                for row, (sample, (_, mask)) in enumerate(zip(self.ids(split), pairs, strict=True)):
                    self.masks[split, row] = mask
                    counts = np.bincount(mask.ravel(), minlength=256)[: len(self.classes)]
                    sha256 = hashlib.sha256(sample.encode()).hexdigest()
                    cells = (sample, split, f"animal={split} {row}", "", *[self.size] * 4, sha256, counts.sum())
                    samples.append([str(cell) for cell in (*cells, *counts / counts.sum())])
            prepared.write_tables(
                Dataset("composites", source, "Generated images.", self.classes, "3f9c" * 16),
                DatasetStats({"RGB": 14, "palette": 1}, 2, 1, 15, 1, (("train-0000", "train-0001"),)),
                samples,
                [("Thumbs.db", "files ending in .db are not read"), ("odd", "shares its group with the showcase")],
            )

    def _simulate_losses(self, variant: str, learning_rate: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Simulate losses: fast and overfitting at the higher learning rate, slow at the lower one."""
        rng = np.random.default_rng([seed, self.variants.index(variant), self.learning_rates.index(learning_rate)])
        t = np.arange(1, self.epochs + 1) / self.epochs
        speed = {0: 7.0, 1: 4.0}.get(self.learning_rates.index(learning_rate), 1.2)
        floor = 0.17 + 0.06 * self.variants.index(variant)
        train = floor + (0.85 - floor) * np.exp(-speed * t) + rng.normal(0, 0.008, len(t))
        validation = train + (0.05 + 0.16 * t**2 * speed / 7) + rng.normal(0, 0.012, len(t))
        return train, validation

    def _write_run(self, variant: str, learning_rate: float, seed: int) -> RunSummary:
        name = f"{variant}-{learning_rate}-{seed}"
        train, validation = self._simulate_losses(variant, learning_rate, seed)
        if name == self.diverged:
            stop = max(2, self.epochs // 2)
            train, validation = train[:stop].copy(), validation[:stop].copy()
            train[-1], validation[-1] = 2.4, 3.1
        best = int(np.argmin(validation))
        amounts = validation * 0.6
        masks = np.stack([perturb_mask(self.masks[SHOWCASE, 0], a * 0.5, 3) for a in amounts])
        is_diverged = name == self.diverged
        cell = self.params.cell(self.params.grid.variant[0], learning_rate, seed).model_dump(mode="json")
        record = RunRecord(
            format=FORMAT,
            run=name,
            key="8a71" * 16,
            status="diverged" if is_diverged else "finished",
            epochs=len(train),
            best_epoch=best + 1,
            diverged_epoch=len(train) + 1 if is_diverged else None,
            precision="bfloat16",
            trainable_parameters=1_940_000,
            data_fingerprint="3f9c" * 16,
            cell={**cell, "variant": variant},
        )
        with self.project.run(name).replace() as run:
            run.write_json(run.RECORD, record)
            run.write_showcase_masks(masks)
            epochs = zip(train, validation, strict=True)
            run.write_history(
                [
                    dict(
                        zip(
                            run.HISTORY_COLUMNS,
                            (epoch, learning_rate, train_loss, train_loss, val_loss, 0.5),
                            strict=True,
                        )
                    )
                    for epoch, (train_loss, val_loss) in enumerate(epochs, start=1)
                ],
                (),
            )
        self.curves += [
            (name, variant, learning_rate, seed, epoch, split, float(loss))
            for split, losses in (("train", train), ("validation", validation))
            for epoch, loss in enumerate(losses, start=1)
        ]
        scores = self._write_evaluation(
            name, float(train[best]), float(validation[best]), masks[best], float(amounts[best])
        )
        return RunSummary(
            run=name,
            variant=variant,
            learning_rate=learning_rate,
            seed=seed,
            status="diverged" if is_diverged else "finished",
            reason=f"The loss was not finite in epoch {len(train) + 1}." if is_diverged else "",
            epochs=len(train),
            best_epoch=None if is_diverged else best + 1,
            train_loss=None if is_diverged else float(train[best]),
            val_loss=None if is_diverged else float(validation[best]),
            gap=None if is_diverged else float(validation[best] - train[best]),
            gap_last=None if is_diverged else float(validation[-1] - train[-1]),
            val_accuracy=None if is_diverged else scores.accuracy,
            val_mean_iou=None if is_diverged else scores.mean_iou,
            val_foreground_iou=None if is_diverged else scores.foreground_iou,
            val_object_iou=None if is_diverged else scores.object_iou,
            missed_classes=() if is_diverged else scores.find_missed_classes(),
            train_calibration_error=None if is_diverged else 0.01,
            val_calibration_error=None if is_diverged else 0.05,
            val_confidence=None if is_diverged else 0.95,
            showcase_iou=None if is_diverged else compute_iou(masks[best], self.masks[SHOWCASE, 0], 0),
            showcase_mean_iou=None if is_diverged else scores.mean_iou,
            trainable_parameters=1_940_000,
            judgment=Judgment(
                verdict="diverged" if is_diverged else "memorizing",
                evidence=() if is_diverged else ("validation ends at 1.70 times the training loss",),
                not_checked=("Onset: the curves have 6 epochs; the search requires at least 8.",),
                ratio=None if is_diverged else 1.7,
                rise=None if is_diverged else 0.01,
                iou_gap=None if is_diverged else 0.1,
                iou_gap_last=None if is_diverged else 0.12,
                iou_fall=None if is_diverged else 0.02,
                onset=None,
                gap_low=None if is_diverged else 0.05,
                gap_high=None if is_diverged else 0.25,
                selection_bias=None if is_diverged else 0.01,
            ),
        )

    def _write_evaluation(
        self, name: str, train: float, validation: float, showcase: np.ndarray, amount: float
    ) -> Scores:
        table, overlaps, predictions = [], [], {self.ids(SHOWCASE)[0]: showcase}
        for row, sample in enumerate(self.ids("validation")):
            ground_truth = self.masks["validation", row]
            predictions[sample] = perturb_mask(ground_truth, amount, row)
            overlap = [compute_iou(predictions[sample], ground_truth, index) for index in range(len(self.classes))]
            overlaps.append(overlap)
            mean = float(np.nanmean(np.array(overlap, float)))
            table.append([sample, "validation", validation, 0.9, mean, "" if overlap[0] is None else overlap[0]])
        means = np.nanmean(np.array(overlaps, dtype=float), axis=0)
        by_class: dict[str, float | None] = {
            item.name: float(mean) for item, mean in zip(self.classes, means, strict=True)
        }

        def scores(loss: float) -> Scores:
            return Scores(loss, 0.9, float(means.mean()), float(means[0]), None, by_class, dict.fromkeys(by_class, 0.3))

        with self.project.evaluation(name).replace() as folder:
            folder.write_json(
                folder.METRICS,
                RunEvaluation(
                    run=name,
                    key="0" * 64,
                    gap=validation - train,
                    gap_last=validation - train,
                    train=scores(train),
                    validation=scores(validation),
                    test=scores(validation + 0.02),
                    showcase=(scores(validation),),
                    train_calibration=Calibration(0.93, 0.01),
                    val_calibration=Calibration(0.95, 0.05),
                ),
            )
            folder.write_examples(predictions)
            folder.write_per_image((), table)
            folder.write_table(folder.CALIBRATION, folder.CALIBRATION_COLUMNS, self._list_bins())
            matrix = np.eye(len(self.classes), dtype=np.int64) * 900 + 10
            folder.write_confusion({"validation": matrix}, [item.name for item in self.classes])
        self.gap_parts += self._list_gap_parts(name, train, validation)
        return scores(validation)

    def _list_bins(self) -> list[list[str | float]]:
        """Simulate calibrated training and overconfident validation; bins below 1/3 are empty."""
        rows: list[list[str | float]] = []
        for split, excess in (("train", 0.01), ("validation", 0.06)):
            for index in range(15):
                low, high, pixels = index / 15, (index + 1) / 15, 0 if index < 5 else 100 * 2 ** (index - 5)
                middle = (low + high) / 2
                rows.append([split, low, high, pixels, *((middle, middle - excess) if pixels else ("", ""))])
        return rows

    def _list_gap_parts(self, name: str, train: float, validation: float) -> list[tuple[object, ...]]:
        parts: list[tuple[str, str, int, float, float, object, object]] = [
            ("class", item.name, 4, train + index / 10, validation + index / 5, 0.9, 0.8)
            for index, item in enumerate(self.classes)
        ]
        parts += [("group", f"animal={row}", 1, train, validation + 0.1 - row / 50, "", "") for row in range(4)]
        parts += [
            ("image", sample, 1, train, validation + 0.1 - row / 50, "", "")
            for row, sample in enumerate(self.ids("validation"))
        ]
        return [
            (name, part, part_name, images, train_loss, val_loss, val_loss - train_loss, *ious)
            for part, part_name, images, train_loss, val_loss, *ious in parts
        ]

    def _summarize_setting(self, variant: str, learning_rate: float) -> SettingSummary:
        rows = [row for row in self.rows if row.setting == (variant, learning_rate)]
        if any(row.status != "finished" for row in rows):
            finished = sum(row.status == "finished" for row in rows)
            return SettingSummary(variant, learning_rate, len(rows), finished, False, *[None] * 8)
        ordered = sorted(rows, key=lambda row: row.val_loss or 0)
        columns = [[row.val_loss for row in rows], [row.gap for row in rows], [row.val_mean_iou for row in rows]]
        numbers = [
            value
            for column in columns
            for value in (float(np.mean(column)), float(np.std(column, ddof=1)) if len(column) > 1 else None)
        ]
        return SettingSummary(
            variant,
            learning_rate,
            len(rows),
            len(rows),
            True,
            ordered[(len(rows) - 1) // 2].run,
            *numbers,
            missed_classes=0.0,
        )

    def _write_comparison(self) -> None:
        settings = [self._summarize_setting(variant, lr) for variant in self.variants for lr in self.learning_rates]
        best_of_variant = []
        for variant in self.variants:
            ranked = [row for row in settings if row.variant == variant and row.ranked]
            if ranked:
                row = min(ranked, key=lambda row: row.val_loss_mean or 0)
                best_of_variant.append(BestSetting(variant, row.learning_rate, str(row.run), None))
        means = {row.setting: row.val_loss_mean or 0 for row in settings}
        best = min(best_of_variant, key=lambda item: means[item.setting])
        evaluation = Project(self.root).evaluation(best.run).metrics
        seeds = [row.run for row in self.rows if row.setting == best.setting]
        tests = [Project(self.root).evaluation(run).metrics.test for run in seeds]
        self.summary = Summary(
            baseline=Scores(BASELINE, 0.6, 0.2, 0.0, None, *[{item.name: 0.2 for item in self.classes}] * 2),
            runs=tuple(self.rows),
            settings=tuple(settings),
            best_of_variant=tuple(best_of_variant),
            best=BestSetting(
                best.variant, best.learning_rate, best.run, evaluation.test, tuple(test for test in tests if test)
            ),
            foreground=tuple(item.name for item in self.classes if item.foreground),
            boundary=tuple(item.name for item in self.classes if item.is_boundary),
        )
        comparison = self.project.comparison
        comparison.path.mkdir()
        comparison.write_table(comparison.CURVES, comparison.CURVE_COLUMNS, self.curves)
        comparison.write_table(comparison.GAP_PARTS, comparison.GAP_PART_COLUMNS, self.gap_parts)
        names = [item.name for item in self.classes]
        counts = np.tile(np.arange(len(names)) * 10 + 50, (COUNTS["validation"], 1))
        surfaces = np.full((COUNTS["validation"], len(names), 4), 0.5)
        surfaces[0, 0, 2:] = np.nan
        labels = (np.arange(COUNTS["validation"]),)
        rows = tabulate_metrics(ImageMetrics(ClassPixels(counts, counts, counts - 20), surfaces, labels), names)
        comparison.write_metrics(
            (run, split, row)
            for run, split in [*((item.run, "validation") for item in best_of_variant), (best.run, "test")]
            for row in rows
        )
        self.write_summary(self.summary)
        self.write_findings(
            (
                f"{best.variant} learned best at {best.learning_rate}: its validation loss was the lowest of the grid.",
                [best.run],
            ),
            (
                "At the highest learning rate, training and validation loss diverge in every run: these runs memorize.",
                [],
            ),
        )

    def _write_ensemble(self) -> None:
        rows = self.summary.list_ensemble()
        members = tuple(EnsembleMember(row.run, self.project.run(row.run).record.key) for row in rows)
        with self.project.ensemble.replace() as new:
            if reason := self.summary.explain_missing_ensemble():
                new.write_json(new.RECORD, EnsembleRecord.without_scores(members, reason))
                return
            scores = [
                EnsembleScore.create(split, score, "", 0.5, (0.6, 0.55), (-0.1, 0.01) if score == "loss" else None)
                for split in ("validation", "test")
                for score in ("loss", "accuracy", "mean_iou", "calibration_error", "error_auroc")
            ]
            scores += [
                EnsembleScore.create(split, "dice", item.name, 0.8, (0.7, 0.9))
                for split in ("validation", "test")
                for item in self.classes
            ]
            ids = self.ids("validation")[:2]
            record = EnsembleRecord(
                members=members,
                key=compute_ensemble_key((member.key for member in members), 0.8),
                reason="",
                images={split: COUNTS[split] for split in ("validation", "test")},
                temperature=Temperature(0.8, ""),
                unscaled={split: UnscaledScores(0.51, 0.6, 0.55) for split in ("validation", "test")},
                scores=tuple(scores),
                cost=EnsembleCost(len(members), 3_000_000_000, 5_820_000, 23_300_000),
                example_split="validation",
                examples=tuple(EnsembleExample(sample, 0.3, 0.02) for sample in ids),
            )
            new.write_json(new.RECORD, record)
            new.write_table(new.IMAGES, new.IMAGE_COLUMNS, ())
            curve = [
                (split, share, 0.1 * share) for split in ("validation", "test") for share in (np.arange(1, 101) / 100)
            ]
            new.write_table(new.RISK_COVERAGE, new.RISK_COVERAGE_COLUMNS, curve)
            ramp = np.linspace(0, 1, self.size**2, dtype=np.float32).reshape(self.size, self.size)
            new.write_examples(
                (sample, UncertaintyMaps(np.minimum(self.masks["validation", row], 1), ramp, ramp / 10))
                for row, sample in enumerate(ids)
            )

    def create_context(self, runs: str | None = None) -> PageContext:
        """Create the context of a page from the current files."""
        project = Project(self.root)
        return PageContext(project, self.params.data, select_runs(project.comparison.summary, runs))

    def write_summary(self, summary: Summary) -> None:
        self.summary = summary
        self.project.comparison.write_summary(summary)

    def write_findings(self, *sentences: tuple[str, list[str]]) -> None:
        self.project.comparison.write_findings(
            Finding(f"f{index}", text, tuple(names)) for index, (text, names) in enumerate(sentences)
        )

    def edit_json(self, path: Path, **changes: object) -> None:
        content = json.loads((self.root / path).read_text())
        write_text(self.root / path, to_json({**content, **changes}))


def render_header(project: ReportProject) -> str:
    """Render a page with only the header, which is faster than the whole page."""
    header = build_header(project.params, project.create_context())
    return render_html("page.html", Page(header, ()), project.project)


@pytest.fixture(scope="session")
def make_project() -> type[ReportProject]:
    """The class itself, for tests that need another project than the default one."""
    return ReportProject


@pytest.fixture(scope="session")
def written_project(tmp_path_factory: pytest.TempPathFactory) -> ReportProject:
    """The default project, which tests must not change."""
    return ReportProject(tmp_path_factory.mktemp("written"))


@pytest.fixture
def project(tmp_path: Path, written_project: ReportProject) -> ReportProject:
    return written_project.copy_to(tmp_path)
