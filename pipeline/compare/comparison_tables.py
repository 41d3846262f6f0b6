"""Write the tables of the comparison."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from operator import attrgetter

import pandas as pd

from pipeline.analysis.calibration import combine_bins
from pipeline.analysis.evaluation_metrics import concatenate_images, read_image_metrics
from pipeline.analysis.group_labels import create_labels
from pipeline.analysis.metrics import tabulate_metrics
from pipeline.artifacts.comparison import Comparison, MetricRow, RunSummary, Summary
from pipeline.artifacts.evaluation_folder import EvaluationFolder
from pipeline.artifacts.prepared_data import Dataset
from pipeline.compare.compared_runs import ComparedRuns, EvaluatedRun
from pipeline.compare.suspicious_masks import rank_suspicious_masks


def write_tables(folder: Comparison, runs: ComparedRuns, summary: Summary) -> None:
    """Write the metrics of the selected settings, the tables of the best one, and the curves and gaps of all runs."""
    data, best = runs.project.prepared.dataset, summary.best
    on_validation = {
        selection.run: [runs.evaluated[run] for run in summary.list_fold_runs(selection)]
        for selection in summary.best_of_variant
    }
    chosen = [(run, "validation", evaluated) for run, evaluated in on_validation.items()]
    chosen += [(best.run, "test", [runs.evaluated[best.run]])] if best and best.test else []
    folder.write_metrics(
        (run, split, row) for run, split, evaluated in chosen for row in _tabulate_metrics(evaluated, split, data)
    )
    shown = [one.evaluation for one in on_validation[best.run]] if best else []
    pixels, bins = (_list_confusion_rows(best.run, shown), _list_bin_rows(best.run, shown)) if best else ((), ())
    folder.write_table(folder.CONFUSION, folder.CONFUSION_COLUMNS, pixels)
    folder.write_table(folder.CALIBRATION, folder.CALIBRATION_COLUMNS, bins)
    curves = (
        curve for row in runs.rows if row.trained for curve in _list_curve_rows(row, runs.folders[row.run][0].history)
    )
    folder.write_table(folder.CURVES, folder.CURVE_COLUMNS, curves)
    checked = [] if data.has_exact_masks else summary.list_ensemble()
    masks = rank_suspicious_masks([(row.fold, runs.folders[row.run][1]) for row in checked]) if checked else None
    mask_rows = masks.itertuples(index=False) if masks is not None else ()
    folder.write_table(folder.SUSPICIOUS_MASKS, folder.SUSPICIOUS_MASK_COLUMNS, mask_rows)
    get_cells = attrgetter(*folder.GAP_PART_COLUMNS[1:])
    part_rows = ((run, *get_cells(part)) for run, parts in runs.gap_parts.items() for part in parts)
    folder.write_table(folder.GAP_PARTS, folder.GAP_PART_COLUMNS, part_rows)


def _tabulate_metrics(runs: Sequence[EvaluatedRun], split: str, data: Dataset) -> list[MetricRow]:
    """Compute metrics on a split by class, with their intervals, over the images of one or several runs."""
    groups = pd.concat([run.samples.loc[run.samples["split"] == split, "groups"] for run in runs], ignore_index=True)
    images = [read_image_metrics(*run, split, data.class_names) for run in runs]
    return tabulate_metrics(concatenate_images(images, create_labels(groups)), data.class_names)


def _list_curve_rows(row: RunSummary, history: pd.DataFrame) -> Iterator[tuple[object, ...]]:
    for split, column in (("train", "train_loss"), ("validation", "val_loss")):
        for epoch, loss in zip(history["epoch"], history[column], strict=True):
            yield row.run, row.variant, row.learning_rate, row.seed, epoch, split, loss


def _list_confusion_rows(run: str, evaluations: Sequence[EvaluationFolder]) -> Iterator[tuple[object, ...]]:
    """Add up the validation pixels of one or more evaluations by ground truth and prediction."""
    pixels: Counter[tuple[str, str]] = Counter()
    totals: Counter[str] = Counter()
    for evaluated in evaluations:
        table = evaluated.read_confusion()
        table = table[table["split"] == "validation"]
        for actual, predicted, count in zip(table["actual"], table["predicted"], table["pixels"], strict=True):
            pixels[actual, predicted] += count
            totals[actual] += count
    for (actual, predicted), count in pixels.items():
        yield run, actual, predicted, count, count / totals[actual]


def _list_bin_rows(run: str, evaluations: Sequence[EvaluationFolder]) -> Iterator[tuple[object, ...]]:
    """Average the confidence and the accuracy of each bin over the pixels of one or more evaluations."""
    for split, bins in combine_bins([evaluated.read_calibration() for evaluated in evaluations]).items():
        for pixels, *means in zip(bins.pixels, bins.confidence, bins.accuracy, strict=True):
            if pixels:
                yield run, split, int(pixels), *map(float, means)
