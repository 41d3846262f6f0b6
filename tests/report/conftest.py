"""A small project as the stages would leave it, without training anything."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.artifacts.comparison import BestSetting, Comparison, Judgment, RunSummary, SettingSummary, Summary
from pipeline.artifacts.evaluation_folder import EvaluationFolder, RunEvaluation
from pipeline.artifacts.format import FORMAT
from pipeline.artifacts.prepared_data import SHOWCASE, Dataset, DatasetStats, PreparedData, SegmentationClass
from pipeline.artifacts.project import COMPARISON, EVALUATION, PREPARED, RUNS, TEMPLATES, Project
from pipeline.artifacts.run_folder import RunFolder, RunRecord
from pipeline.artifacts.scores import Calibration, Scores
from pipeline.atomic_io import as_json, write_text
from pipeline.imaging import IGNORE
from pipeline.params import Params
from pipeline.params.file import read_params

REPOSITORY = Path(__file__).resolve().parents[2]
CLASSES = (
    SegmentationClass("pet", "#d98c21", True),
    SegmentationClass("background", "#2e5a6b", False),
    SegmentationClass("border", "#e9dfc7", False),
)
BASELINE = 0.93
COUNTS = {"train": 6, "validation": 4, "test": 4, SHOWCASE: 1}

Painter = Callable[[str, int, int], tuple[np.ndarray, np.ndarray]]  # split, row, size -> image, mask


def disc(split: str, row: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """A bright disc with a border on a dark ground."""
    rng = np.random.default_rng([row, *split.encode()])
    y, x = np.indices((size, size))
    centre = size / 2 + rng.uniform(-size / 8, size / 8, 2)
    distance = np.hypot(y - centre[0], x - centre[1]) - size * rng.uniform(0.2, 0.32)
    mask = np.where(distance < 0, 0, np.where(distance < size / 16, 2, 1)).astype(np.uint8)
    mask[0, 0] = IGNORE
    image = np.where(distance[..., None] < 0, (205, 160, 90), (60, 90, 70)) + rng.integers(-25, 25, (size, size, 3))
    return image.clip(0, 255).astype(np.uint8), mask


def spoiled(mask: np.ndarray, amount: float, seed: int) -> np.ndarray:
    """A prediction: the mask shifted and with a hole, more so with a greater amount."""
    size = mask.shape[0]
    rng = np.random.default_rng(seed)
    shift = tuple(int(v) for v in np.round(rng.normal(0, amount * size / 5, 2)))
    out = np.roll(np.where(mask == IGNORE, 1, mask), shift, (0, 1))
    for value in (0, 1):
        y, x = np.indices(mask.shape)
        centre, radius = rng.uniform(0.1, 0.9, 2) * size, amount * size / 3
        out[np.hypot(y - centre[0], x - centre[1]) < radius] = value
    return out.astype(np.uint8)


def iou(prediction: np.ndarray, truth: np.ndarray, index: int) -> float | None:
    one, other = prediction == index, truth == index
    union = int(((one | other) & (truth != IGNORE)).sum())
    return int((one & other).sum()) / union if other.any() else None


class ReportProject:
    """Writes every file that the report reads below `root`."""

    def __init__(
        self,
        root: Path,
        variants: tuple[str, ...] = ("unet", "unet_no_skip"),
        rates: tuple[float, ...] = (0.01, 0.001),
        seeds: tuple[int, ...] = (0, 1),
        size: int = 32,
        epochs: int = 5,
        paint: Painter = disc,
        classes: tuple[SegmentationClass, ...] = CLASSES,
        source: str = "drawn discs",
        diverged: str = "unet_no_skip-0.01-1",
    ) -> None:
        self.root, self.size, self.epochs, self.diverged = root, size, epochs, diverged
        self.variants, self.rates, self.seeds, self.classes = variants, rates, seeds, classes
        shutil.copytree(REPOSITORY / TEMPLATES, root / TEMPLATES)
        self.params: Params = read_params(REPOSITORY / "params.yaml")
        shutil.copy(REPOSITORY / self.params.report.notes_file, root / self.params.report.notes_file)
        self.masks: dict[tuple[str, int], np.ndarray] = {}
        self._prepare(paint, source)
        self.rows = [self._run(v, r, s) for v in variants for r in rates for s in seeds]
        self._compare()

    def ids(self, split: str) -> list[str]:
        return [f"{split}-{row:04d}" for row in range(COUNTS[split])]

    def _prepare(self, paint: Painter, source: str) -> None:
        table = []
        for split in COUNTS:
            drawn = [paint(split, row, self.size) for row in range(COUNTS[split])]
            folder = self.root / PREPARED / split
            folder.mkdir(parents=True)
            np.save(folder / PreparedData.IMAGES, np.stack([image for image, _ in drawn]))
            np.save(folder / PreparedData.MASKS, np.stack([mask for _, mask in drawn]))
            for row, (sample, (_, mask)) in enumerate(zip(self.ids(split), drawn, strict=True)):
                self.masks[split, row] = mask
                counts = np.bincount(mask.ravel(), minlength=256)[: len(self.classes)]
                pixels = int(counts.sum())
                sha256 = hashlib.sha256(sample.encode()).hexdigest()
                table.append(
                    (sample, split, f"animal={split} {row}", self.size, self.size, sha256, pixels, *counts / pixels)
                )
        shares = [f"share_{item.name}" for item in self.classes]
        pd.DataFrame(table, columns=[*PreparedData.SAMPLE_COLUMNS, *shares]).to_csv(
            self.root / PREPARED / PreparedData.SAMPLES, index=False
        )
        skipped = [("Thumbs.db", "its ending is none of an image"), ("odd", "shares its group with the showcase")]
        pd.DataFrame(skipped, columns=["id", "reason"]).to_csv(self.root / PREPARED / PreparedData.SKIPPED, index=False)
        survey = DatasetStats({"RGB": 14, "palette": 1}, 2, 1, 15, 1, (("train-0000", "train-0001"),))
        write_text(self.root / PREPARED / PreparedData.STATS, as_json(survey))
        write_text(
            self.root / PREPARED / PreparedData.CLASSES,
            as_json(Dataset("composites", source, "Pictures by nobody.", self.classes, "3f9c" * 16)),
        )

    def _losses(self, variant: str, rate: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Plausible curves: fast and overfitting at the higher rate, slow at the lower one."""
        rng = np.random.default_rng([seed, self.variants.index(variant), self.rates.index(rate)])
        t = np.arange(1, self.epochs + 1) / self.epochs
        speed = {0: 7.0, 1: 4.0}.get(self.rates.index(rate), 1.2)
        floor = 0.17 + 0.06 * self.variants.index(variant)
        train = floor + (0.85 - floor) * np.exp(-speed * t) + rng.normal(0, 0.008, len(t))
        validation = train + (0.05 + 0.16 * t**2 * speed / 7) + rng.normal(0, 0.012, len(t))
        return train, validation

    def _run(self, variant: str, rate: float, seed: int) -> RunSummary:
        name = f"{variant}-{rate}-{seed}"
        train, validation = self._losses(variant, rate, seed)
        if name == self.diverged:
            stop = max(2, self.epochs // 2)
            train, validation = train[:stop].copy(), validation[:stop].copy()
            train[-1], validation[-1] = 2.4, 3.1
        best = int(np.argmin(validation))
        amounts = validation * 0.6
        masks = np.stack([spoiled(self.masks[SHOWCASE, 0], a * 0.5, 3) for a in amounts])
        folder = self.root / RUNS / name
        folder.mkdir(parents=True)
        np.savez_compressed(folder / RunFolder.SHOWCASE_MASKS, masks=masks[:, None])
        ended = name == self.diverged
        cell = self.params.cell(self.params.grid.variant[0], rate, seed).model_dump(mode="json")
        record = RunRecord(
            format=FORMAT,
            run=name,
            key="8a71" * 16,
            status="diverged" if ended else "finished",
            epochs=len(train),
            best_epoch=best + 1,
            diverged_epoch=len(train) + 1 if ended else None,
            precision="bfloat16",
            trainable_parameters=1_940_000,
            data_fingerprint="3f9c" * 16,
            cell={**cell, "variant": variant},
        )
        write_text(folder / RunFolder.RECORD, as_json(record))
        self._curves(name, variant, rate, seed, train, validation)
        pd.DataFrame(
            {
                "epoch": np.arange(1, len(train) + 1),
                "learning_rate": rate,
                "objective": train,
                "train_loss": train,
                "val_loss": validation,
            }
        ).to_csv(folder / RunFolder.HISTORY, index=False)
        scores = self._evaluate(name, float(train[best]), float(validation[best]), masks[best], float(amounts[best]))
        return RunSummary(
            run=name,
            variant=variant,
            learning_rate=rate,
            seed=seed,
            status="diverged" if ended else "finished",
            reason=f"The loss was not finite in epoch {len(train) + 1}." if ended else "",
            epochs=len(train),
            best_epoch=None if ended else best + 1,
            train_loss=None if ended else float(train[best]),
            val_loss=None if ended else float(validation[best]),
            gap=None if ended else float(validation[best] - train[best]),
            gap_last=None if ended else float(validation[-1] - train[-1]),
            val_accuracy=None if ended else scores.accuracy,
            val_mean_iou=None if ended else scores.mean_iou,
            val_foreground_iou=None if ended else scores.foreground_iou,
            val_object_iou=None if ended else scores.object_iou,
            missed_classes=() if ended else scores.find_missed_classes(),
            train_calibration_error=None if ended else 0.01,
            val_calibration_error=None if ended else 0.05,
            val_confidence=None if ended else 0.95,
            showcase_iou=None if ended else iou(masks[best], self.masks[SHOWCASE, 0], 0),
            showcase_mean_iou=None if ended else scores.mean_iou,
            trainable_parameters=1_940_000,
            judgment=Judgment(
                verdict="diverged" if ended else "memorizing",
                evidence=() if ended else ("validation ends at 1.70 times the training loss",),
                not_checked=("Onset: 6 epochs in all; it takes 8.",),
                ratio=None if ended else 1.7,
                rise=None if ended else 0.01,
                iou_gap=None if ended else 0.1,
                iou_gap_last=None if ended else 0.12,
                iou_fall=None if ended else 0.02,
                onset=None,
                gap_low=None if ended else 0.05,
                gap_high=None if ended else 0.25,
                selection_bias=None if ended else 0.01,
            ),
        )

    def _curves(
        self, name: str, variant: str, rate: float, seed: int, train: np.ndarray, validation: np.ndarray
    ) -> None:
        path = self.root / COMPARISON / Comparison.CURVES
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [
            (name, variant, rate, seed, epoch, split, float(loss))
            for split, losses in (("train", train), ("validation", validation))
            for epoch, loss in enumerate(losses, start=1)
        ]
        table = pd.DataFrame(rows, columns=list(Comparison.CURVE_COLUMNS))
        table.to_csv(path, mode="a", header=not path.exists(), index=False)

    def _evaluate(self, name: str, train: float, validation: float, showcase: np.ndarray, amount: float) -> Scores:
        folder = self.root / EVALUATION / name
        (folder / EvaluationFolder.EXAMPLES).mkdir(parents=True)
        Image.fromarray(showcase).save(folder / EvaluationFolder.EXAMPLES / f"{self.ids(SHOWCASE)[0]}.png")
        table, overlaps = [], []
        for row, sample in enumerate(self.ids("validation")):
            truth = self.masks["validation", row]
            prediction = spoiled(truth, amount, row)
            Image.fromarray(prediction).save(folder / EvaluationFolder.EXAMPLES / f"{sample}.png")
            overlap = [iou(prediction, truth, index) for index in range(len(self.classes))]
            overlaps.append(overlap)
            table.append(
                (sample, "validation", validation, 0.9, float(np.nanmean(np.array(overlap, float))), overlap[0])
            )
        pd.DataFrame(table, columns=list(EvaluationFolder.PER_IMAGE_COLUMNS)).to_csv(
            folder / EvaluationFolder.PER_IMAGE, index=False
        )
        means = np.nanmean(np.array(overlaps, dtype=float), axis=0)
        by_class = {item.name: float(mean) for item, mean in zip(self.classes, means, strict=True)}

        def scores(loss: float) -> Scores:
            return Scores(loss, 0.9, float(means.mean()), float(means[0]), None, by_class, dict.fromkeys(by_class, 0.3))

        evaluation = RunEvaluation(
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
        )
        self._reliability(folder / EvaluationFolder.CALIBRATION)
        self._parts(name, train, validation)
        write_text(folder / EvaluationFolder.METRICS, as_json(evaluation))
        return scores(validation)

    def _reliability(self, path: Path) -> None:
        """Right as often as it is sure in training, too sure on validation; nothing below a third."""
        rows = []
        for split, excess in (("train", 0.01), ("validation", 0.06)):
            for place in range(15):
                low, high, pixels = place / 15, (place + 1) / 15, 0 if place < 5 else 100 * 2 ** (place - 5)
                middle = (low + high) / 2
                rows.append((split, low, high, pixels, *((middle, middle - excess) if pixels else ("", ""))))
        pd.DataFrame(rows, columns=list(EvaluationFolder.CALIBRATION_COLUMNS)).to_csv(path, index=False)

    def _parts(self, name: str, train: float, validation: float) -> None:
        path = self.root / COMPARISON / Comparison.GAP_PARTS
        rows = [
            (name, "class", item.name, 4, train + place / 10, validation + place / 5, 0.9, 0.8)
            for place, item in enumerate(self.classes)
        ]
        rows += [
            (name, "group", f"animal={row}", 1, train, validation + 0.1 - row / 50, None, None) for row in range(4)
        ]
        rows += [
            (name, "image", sample, 1, train, validation + 0.1 - row / 50, None, None)
            for row, sample in enumerate(self.ids("validation"))
        ]
        table = pd.DataFrame(rows, columns=[column for column in Comparison.GAP_PART_COLUMNS if column != "gap"])
        table.insert(6, "gap", table["val_loss"] - table["train_loss"])
        table.to_csv(path, mode="a", header=not path.exists(), index=False)

    def _rate(self, variant: str, rate: float) -> SettingSummary:
        rows = [row for row in self.rows if (row.variant, row.learning_rate) == (variant, rate)]
        if any(row.status != "finished" for row in rows):
            finished = sum(row.status == "finished" for row in rows)
            return SettingSummary(variant, rate, len(rows), finished, False, *[None] * 8)
        ordered = sorted(rows, key=lambda row: row.val_loss or 0)
        columns = [[row.val_loss for row in rows], [row.gap for row in rows], [row.val_mean_iou for row in rows]]
        numbers = [
            value
            for column in columns
            for value in (float(np.mean(column)), float(np.std(column, ddof=1)) if len(column) > 1 else None)
        ]
        return SettingSummary(
            variant, rate, len(rows), len(rows), True, ordered[(len(rows) - 1) // 2].run, *numbers, missed_classes=0.0
        )

    def _compare(self) -> None:
        rates = [self._rate(variant, rate) for variant in self.variants for rate in self.rates]
        chosen = []
        for variant in self.variants:
            ranked = [row for row in rates if row.variant == variant and row.ranked]
            if ranked:
                row = min(ranked, key=lambda row: row.val_loss_mean or 0)
                chosen.append(BestSetting(variant, row.learning_rate, str(row.run), None))
        means = {(row.variant, row.learning_rate): row.val_loss_mean or 0 for row in rates}
        best = min(chosen, key=lambda item: means[item.variant, item.learning_rate])
        evaluation = Project(self.root).evaluation(best.run).metrics
        seeds = [row.run for row in self.rows if (row.variant, row.learning_rate) == (best.variant, best.learning_rate)]
        tests = [Project(self.root).evaluation(run).metrics.test for run in seeds]
        self.summary = Summary(
            baseline=Scores(BASELINE, 0.6, 0.2, 0.0, None, *[{item.name: 0.2 for item in self.classes}] * 2),
            runs=tuple(self.rows),
            settings=tuple(rates),
            best_of_variant=tuple(chosen),
            best=BestSetting(
                best.variant, best.learning_rate, best.run, evaluation.test, tuple(test for test in tests if test)
            ),
            foreground=tuple(item.name for item in self.classes if item.foreground),
            boundary=tuple(item.name for item in self.classes if item.is_boundary),
        )
        self.write_summary(self.summary)
        self.write_findings(
            (
                f"{best.variant} learned best at {best.learning_rate}: its validation loss was the lowest of the grid.",
                [best.run],
            ),
            ("Training and validation loss drew apart in every run at the highest rate: these runs memorize.", []),
        )

    def write_summary(self, summary: Summary) -> None:
        self.summary = summary
        write_text(self.root / COMPARISON / Comparison.SUMMARY, as_json(summary))

    def write_findings(self, *sentences: tuple[str, list[str]]) -> None:
        content = [{"id": f"f{i}", "sentence": text, "runs": names} for i, (text, names) in enumerate(sentences)]
        write_text(self.root / COMPARISON / Comparison.FINDINGS, as_json({"findings": content}))

    def edit_json(self, path: Path, **changes: object) -> None:
        content = json.loads((self.root / path).read_text())
        write_text(self.root / path, as_json({**content, **changes}))


@pytest.fixture(scope="session")
def make_project() -> type[ReportProject]:
    """The class itself, for tests that want another project than the usual one."""
    return ReportProject


@pytest.fixture
def project(tmp_path: Path) -> ReportProject:
    return ReportProject(tmp_path)
