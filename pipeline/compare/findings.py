"""Sentences computed from the numbers, with the numbers in them; none where the evidence is missing."""

from __future__ import annotations

import math
from statistics import fmean

from pipeline.analysis.parts import Part
from pipeline.analysis.seeds import PairedDifference, holm, paired_difference
from pipeline.compare import one_class_findings
from pipeline.compare.missed_class_findings import missed_classes
from pipeline.compare.outcomes import lost, onsets, verdicts
from pipeline.compare.phrases import losses_of, number, rate_of, rows_of, runs_of, seeds, signed, with_spread
from pipeline.comparison import Finding, RateRow, RunRow, Summary

SIGNIFICANT = 0.05  # Fisher's convention
MIN_IMAGES = 3  # of validation that have a class: the gap of a class in fewer says little
MIN_GAP = 0.005  # nats per pixel: a smaller gap is not reported as one
WORTH_A_WORD = 0.005  # of the pixels: a smaller difference between confidence and accuracy is nothing to report


def findings(summary: Summary, parts: dict[str, list[Part]]) -> list[Finding]:
    """What the grid shows, the most important first.

    Args:
        summary: the comparison.
        parts: of each finished run, what its gap is made of.
    """
    if summary.best is None:
        none = Finding("none_ranked", "No rate finished with all its seeds, so nothing can be ranked.", ())
        return [none, *filter(None, [one_class_findings.other_runs(summary)]), *lost(summary)]
    found = [
        missed_classes(summary),
        one_class_findings.best_setting(summary),
        _best(summary),
        _best_rate(summary),
        *_tenth(summary),
        _gap(summary),
        verdicts(summary),
        one_class_findings.other_runs(summary),
        onsets(summary),
        _widest_class(summary, parts),
        _certainty(summary),
        *_variants(summary),
    ]
    return [finding for finding in [*found, *lost(summary)] if finding]


def _best(summary: Summary) -> Finding | None:
    assert summary.best is not None
    row = rate_of(summary, summary.best.variant, summary.best.learning_rate)
    share = 1 - number(row.val_loss_mean) / summary.baseline_loss if summary.baseline_loss > 0 else 0.0
    prior = f"the {summary.baseline_loss:.3f} of knowing only how frequent each class is"
    return Finding(
        "best",
        f"{summary.best.variant} at a learning rate of {row.learning_rate} has the lowest validation loss: "
        f"{with_spread(row.val_loss_mean, row.val_loss_sd)} nats a pixel over {seeds(row.seeds)}, "
        + (f"{share:.0%} below {prior}." if share > 0 else f"no better than {prior}: nothing was learned yet."),
        (summary.best.run,),
    )


def _best_rate(summary: Summary) -> Finding | None:
    """Whether the seeds support the best rate against the runner-up of the same variant."""
    assert summary.best is not None
    rivals = sorted(
        (row for row in summary.rates if row.variant == summary.best.variant and row.ranked),
        key=lambda row: number(row.val_loss_mean),
    )
    if len(rivals) < 2:
        return None
    first, second = rivals[:2]
    differences = [_difference(summary, first, rival) for rival in rivals[1:]]
    sentence = (
        f"Among the rates of {first.variant}, {first.learning_rate} is ahead of {second.learning_rate} by "
        f"{_ahead(differences[0])}. {_weights(differences)[0]}"
    )
    return Finding("best_rate", sentence, runs_of(summary, first) + runs_of(summary, second))


def _tenth(summary: Summary) -> list[Finding]:
    """What a tenth of the best rate did, for each variant: the exercise's question."""
    found = []
    for best in summary.best_of_variant:
        here = rate_of(summary, best.variant, best.learning_rate)
        tenth = [
            row
            for row in summary.rates
            if row.variant == best.variant and row.ranked and math.isclose(row.learning_rate * 10, best.learning_rate)
        ]
        if tenth:
            change = number(tenth[0].val_loss_mean) - number(here.val_loss_mean)
            sentence = (
                f"A tenth of {best.variant}'s best rate, {tenth[0].learning_rate}, costs {change:.3f} nats a pixel "
                f"of validation loss; the gap goes from {signed(here.gap_mean)} to {signed(tenth[0].gap_mean)}."
            )
            found.append(
                Finding(f"tenth_{best.variant}", sentence, runs_of(summary, here) + runs_of(summary, tenth[0]))
            )
    return found


def _gap(summary: Summary) -> Finding | None:
    ranked = [row for row in summary.rates if row.ranked and row.gap_mean is not None]
    if not ranked:
        return None
    widest = max(ranked, key=lambda row: number(row.gap_mean))
    if number(widest.gap_mean) < MIN_GAP:
        sentence = (
            f"No gap: at no learning rate is the mean validation loss more than {MIN_GAP} nats per pixel above the "
            f"training loss at the best epoch."
        )
        return Finding("widest_gap", sentence, runs_of(summary, widest))
    sentence = (
        f"The widest gap between validation and training loss at the best epoch is "
        f"{with_spread(widest.gap_mean, widest.gap_sd)} nats a pixel: {widest.variant} at {widest.learning_rate}."
    )
    return Finding("widest_gap", sentence, runs_of(summary, widest))


def _variants(summary: Summary) -> list[Finding]:
    """Each other variant against the best one, each at its own best rate."""
    assert summary.best is not None
    first = rate_of(summary, summary.best.variant, summary.best.learning_rate)
    found = []
    others = [rate_of(summary, other.variant, other.learning_rate) for other in summary.best_of_variant[1:]]
    differences = [_difference(summary, first, other) for other in others]
    for second, difference, weight in zip(others, differences, _weights(differences), strict=True):
        sentence = (
            f"{second.variant} at its best rate, {second.learning_rate}, has a validation loss of "
            f"{with_spread(second.val_loss_mean, second.val_loss_sd)}; {first.variant} is below it by "
            f"{_ahead(difference)}. {weight}"
        )
        found.append(Finding(f"variant_{second.variant}", sentence, runs_of(summary, first) + runs_of(summary, second)))
    return found


def _widest_class(summary: Summary, parts: dict[str, list[Part]]) -> Finding | None:
    """Which class the best rate's gap is widest in, where all its seeds agree."""
    assert summary.best is not None
    rows = rows_of(summary, summary.best)
    by_run = [
        [part for part in parts.get(row.run, ()) if part.part == "class" and part.images >= MIN_IMAGES] for row in rows
    ]
    if not all(len(classes) > 1 for classes in by_run):
        return None
    widest = [max(classes, key=lambda part: part.gap) for classes in by_run]
    if len({part.name for part in widest}) > 1 or min(part.gap for part in widest) < MIN_GAP:
        return None
    train, val = (fmean(getattr(part, side) for part in widest) for side in ("train_loss", "val_loss"))
    sentence = (
        f"{summary.best.variant} at {summary.best.learning_rate} falls furthest behind on {widest[0].name}: pixels of "
        f"that class cost {train:.3f} nats on training images and {val:.3f} on validation{_agreement(rows)}."
    )
    return Finding("widest_class", sentence, tuple(row.run for row in rows))


def _certainty(summary: Summary) -> Finding | None:
    """Whether the best rate is surer than it is right, or less sure, where all its seeds agree."""
    assert summary.best is not None
    rows = rows_of(summary, summary.best)
    sure, right = (
        [value for value in (getattr(row, name) for row in rows) if value is not None]
        for name in ("val_confidence", "val_accuracy")
    )
    if len(sure) != len(rows) or len(right) != len(rows):
        return None
    excess = [confidence - accuracy for confidence, accuracy in zip(sure, right, strict=True)]
    if not excess or min(map(abs, excess)) < WORTH_A_WORD or min(excess) < 0 < max(excess):
        return None
    errors = [fmean(number(getattr(row, f"{side}_calibration_error")) for row in rows) for side in ("train", "val")]
    word = "surer than it is right" if excess[0] > 0 else "right more often than it is sure"
    sentence = (
        f"On validation {summary.best.variant} at {summary.best.learning_rate} is {word}: its mean confidence is "
        f"{fmean(sure):.1%}, and {fmean(right):.1%} of the pixels are right{_agreement(rows)}; the expected "
        f"calibration error is {errors[1]:.3f}, on training {errors[0]:.3f}."
    )
    return Finding("certainty", sentence, tuple(row.run for row in rows))


def _agreement(rows: list[RunRow]) -> str:
    return f" (all {len(rows)} seeds agree)" if len(rows) > 1 else ""


def _difference(summary: Summary, first: RateRow, second: RateRow) -> PairedDifference:
    paired = paired_difference(losses_of(summary, first), losses_of(summary, second))
    if paired is not None:
        return paired
    # Runs from MLflow need share no seed.
    assert first.val_loss_mean is not None
    assert second.val_loss_mean is not None
    return PairedDifference(first.val_loss_mean - second.val_loss_mean, 0, 0, None, None)


def _ahead(difference: PairedDifference) -> str:
    """How far the first is below the second, how sure that is, and in how many seeds."""
    size = f"{-difference.mean:.3f} nats a pixel"
    if difference.seeds == 0:
        return f"{size}; no seed is common to both"
    if difference.interval:
        low, high = difference.interval
        size += f" (95 % interval {-high:.3f} to {-low:.3f})"
    return f"{size}, in {difference.lower} of {seeds(difference.seeds)}"


def _weights(differences: list[PairedDifference]) -> list[str]:
    """What the seeds say of each difference; several are corrected for being several."""
    tested = [difference.p for difference in differences if difference.p is not None]
    several = f", corrected for {len(tested)} comparisons" if len(tested) > 1 else ""
    corrected = iter(holm(tested))
    return [
        _weight(next(corrected), several)
        if difference.p is not None
        else f"{'One seed' if difference.seeds else 'That'} ranks nothing."
        for difference in differences
    ]


def _weight(p: float, several: str) -> str:
    if p < SIGNIFICANT:
        return f"The seeds bear it out (p {'< 0.001' if p < 0.001 else f'= {p:.3f}'}{several})."
    return f"So few seeds cannot tell the two apart (p = {p:.2f}{several})."
