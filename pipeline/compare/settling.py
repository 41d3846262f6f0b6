"""What would settle an open comparison: more seeds, folds or images, or nothing, because the settings are equal."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.analysis.ranked_metric import RankedMetric, get_ranked_metric, rank_settings
from pipeline.analysis.sample_size import (
    CONFIDENCE,
    MAX_IMAGE_FACTOR,
    MAX_SEEDS,
    Goal,
    Pilot,
    SampleSize,
    compute_equivalence_interval,
    compute_equivalence_p_value,
    compute_power,
    compute_power_with_more_images,
    create_pilot,
    find_image_factor,
    find_sample_size,
)
from pipeline.analysis.seed_statistics import SIGNIFICANT, PairedDifference, adjust_p_values
from pipeline.artifacts.comparison import Finding, SettingSummary, Summary
from pipeline.wording import format_loss

FIRST_SEEDS = 3  # number of seeds that are proposed if there is only one
MIN_PILOT = 5  # with fewer seeds, this number is proposed before a comparison is given up
MAX_LISTED = 12  # seeds from 0 up to this number are listed
GIVE_UP = "treat them as equal for practical purposes"


@dataclass(frozen=True)
class Settling:
    """What would settle which of two settings is better."""

    id: str
    first: SettingSummary  # the setting with the better mean
    second: SettingSummary
    sentence: str
    new_seeds: tuple[int, ...] = ()  # seeds to add to the grid; empty if seeds would not settle it


@dataclass(frozen=True)
class _Comparison:
    """Comparison of the best setting with the best of its rivals."""

    id: str
    summary: Summary
    metric: RankedMetric
    first: SettingSummary
    second: SettingSummary
    difference: PairedDifference  # negative if the first setting is better
    p_values: tuple[float, ...]  # of the comparisons with all rivals, best rival first; empty with one seed or fold

    @property
    def pilot(self) -> Pilot | None:
        """The differences seen so far; None with one seed or fold."""
        seeds = [{*self.metric.list_by_seed(self.summary.list_runs(one))} for one in (self.first, self.second)]
        return create_pilot(self.difference, set.intersection(*seeds), self.summary.folds)

    @property
    def mean(self) -> float:
        """Mean of the best setting."""
        return self.first.get_spread(self.metric.name)[0] or 0.0

    def conclude(self, sentence: str) -> Settling:
        """Create a conclusion without new seeds."""
        return Settling(self.id, self.first, self.second, sentence)

    def propose_seeds(self, sentence: str, total: int) -> Settling:
        """Create a proposal of the lowest new seeds, up to a total number of seeds, or of folds that have a seed."""
        known, folds = {row.seed for row in self.summary.runs}, self.summary.folds
        covered = {seed % folds if folds else seed for seed in known}
        free = (seed for seed in itertools.count() if seed not in known and (not folds or seed not in covered))
        new = tuple(itertools.islice(free, total - len(covered)))
        sentence += f" Set grid.seed{_format_seeds(sorted([*known, *new]))} ({len(new)} more)."
        return Settling(self.id, self.first, self.second, sentence, new)


def report_settling(summary: Summary, equivalence_margin: float) -> list[Finding]:
    """Report what would settle the comparisons of `list_settlings`."""
    findings = []
    for one in list_settlings(summary, equivalence_margin):
        rows = (*summary.list_runs(one.first), *summary.list_runs(one.second))
        findings.append(Finding(one.id, one.sentence, tuple(row.run for row in rows)))
    return findings


def list_settlings(summary: Summary, equivalence_margin: float) -> list[Settling]:
    """List what would settle the comparisons of the best setting with its runners-up, except settled ones.

    The runners-up are the second-best learning rate of the same variant, and the second-best variant.

    Args:
        summary: Results of a grid.
        equivalence_margin: As in `compare.equivalence_margin`.
    """
    if summary.best is None:
        return []
    best, metric = summary.get_setting(summary.best), get_ranked_metric(summary)
    rates = rank_settings((row for row in summary.settings if row.variant == best.variant and row != best), metric)
    variants = [summary.get_setting(one) for one in summary.best_of_variant[1:]]
    rivals = {"settle_rate": rates, "settle_variant": variants}
    compared = [_compare(summary, name, metric, best, rows) for name, rows in rivals.items()]
    found = (_settle(pair, equivalence_margin) for pair in compared if pair)
    return [one for one in found if one]


def _compare(
    summary: Summary, name: str, metric: RankedMetric, best: SettingSummary, rivals: Sequence[SettingSummary]
) -> _Comparison | None:
    runs = summary.list_runs(best)
    found = [metric.compute_difference(runs, summary.list_runs(one), summary.folds) for one in rivals]
    differences = [one for one in found if one is not None]
    if not rivals or len(differences) < len(rivals):
        return None
    p_values = tuple(one.p_value for one in differences if one.p_value is not None)
    return _Comparison(name, summary, metric, best, rivals[0], differences[0], p_values)


def _settle(pair: _Comparison, equivalence_margin: float) -> Settling | None:
    """Describe what would settle a comparison; None if it is settled."""
    pilot, margin = pair.pilot, equivalence_margin * pair.mean
    if pilot is None:
        seen = "fold" if pair.summary.folds else "seed"
        sentence = f"{_ask(pair)}, because one {seen} does not show how much the results vary."
        return pair.propose_seeds(sentence, pair.summary.folds or FIRST_SEEDS)
    if compute_equivalence_p_value(pilot, margin) < SIGNIFICANT:
        return pair.conclude(_describe_equality(pair, pilot, margin))
    if adjust_p_values(pair.p_values)[0] < SIGNIFICANT:
        return None
    # Holm's procedure tests the smallest p-value at this level, and the others at higher levels.
    level = SIGNIFICANT / len(pair.p_values)
    goal = Goal(margin) if pilot.difference < margin else Goal(level=level)
    start = f"{_ask(pair)}: {_describe_difference(pair)}."
    folds = pair.summary.folds
    most = folds or MAX_SEEDS
    if size := find_sample_size(pilot, goal, most):
        sentence = f"{start} {_describe_size(pair, pilot, goal, size)}"
        return pair.propose_seeds(sentence, size.num)
    if pilot.num >= most:
        end = _describe_images(pair, pilot, goal) if folds else f"After {pilot.num} seeds, {GIVE_UP}."
        return pair.conclude(f"{start} {end}")
    subject = f"all {folds} folds" if folds else f"even {MAX_SEEDS} seeds per setting"
    power = _describe_power(pair, goal, subject, compute_power(pilot, most, goal))
    if folds:
        return pair.propose_seeds(f"{start} {power}.", folds)
    if pilot.num < MIN_PILOT:
        sentence = f"{start} {power}. But {pilot.num} seeds estimate the spread only roughly: train {MIN_PILOT} first."
        return pair.propose_seeds(sentence, MIN_PILOT)
    return pair.conclude(f"{start} {power}; {GIVE_UP}.")


def _format_seeds(seeds: list[int]) -> str:
    is_long_range = len(seeds) > MAX_LISTED and seeds == list(range(len(seeds)))
    return f" to all numbers from 0 to {seeds[-1]}" if is_long_range else f": {seeds}"


def _ask(pair: _Comparison) -> str:
    return f"Whether {pair.first.setting} or {pair.second.setting} is better is open"


def _describe_difference(pair: _Comparison) -> str:
    assert pair.difference.interval is not None, "a pilot has an interval"
    # With cross-validation, the order of the means over folds may differ from that of the means over seeds.
    better, sign = ("second", 1) if pair.difference.mean > 0 else ("first", -1)
    low, high = sorted(sign * end for end in pair.difference.interval)
    corrected = f", not significant if corrected for {len(pair.p_values)} comparisons" if low > 0 else ""
    return (
        f"the {pair.metric.title} of the {better} is {pair.metric.better} by "
        f"{pair.metric.add_unit(_format(pair, abs(pair.difference.mean)))} (95% interval {_format(pair, low)} to "
        f"{_format(pair, high)}{corrected})"
    )


def _describe_equality(pair: _Comparison, pilot: Pilot, margin: float) -> str:
    low, high = compute_equivalence_interval(pilot)
    return (
        f"{pair.first.setting} and {pair.second.setting} are equal for practical purposes: the means of their "
        f"{pair.metric.title} differ by {pair.metric.add_unit(_format(pair, pilot.difference))} (90% interval "
        f"{_format(pair, low)} to {_format(pair, high)}), which is within the margin of {_format(pair, margin)} "
        "(compare.equivalence_margin)."
    )


def _describe_power(pair: _Comparison, goal: Goal, subject: str, power: float) -> str:
    """Describe with which power more seeds or images would reach the goal."""
    several = f", corrected for {len(pair.p_values)} comparisons" if len(pair.p_values) > 1 else ""
    if goal.margin is None:
        return f"If the true difference is this large, {subject} would detect it with {100 * power:.0f}% power{several}"
    margin = _format(pair, goal.margin)
    return (
        f"If the true difference is this small, {subject} would show with {100 * power:.0f}% power that it is below "
        f"the margin of {margin} (compare.equivalence_margin)"
    )


def _describe_size(pair: _Comparison, pilot: Pilot, goal: Goal, size: SampleSize) -> str:
    """Describe the number of seeds or folds that would settle the comparison, and how certain this number is."""
    folds = pair.summary.folds
    subject = f"{size.num} of the {folds} folds" if folds else f"{size.num} seeds per setting"
    most = size.high if size.high else f"more than {folds or MAX_SEEDS}"
    seen = f"{pilot.num} {'folds' if folds else 'seeds'}"
    return (
        f"{_describe_power(pair, goal, subject, size.power)}. Since {seen} estimate the spread only roughly, "
        f"{size.low} to {most} may be needed ({100 * CONFIDENCE:.0f}% interval)."
    )


def _describe_images(pair: _Comparison, pilot: Pilot, goal: Goal) -> str:
    """Describe how many times as many images would settle a comparison of complete folds."""
    found = find_image_factor(pilot, goal)
    factor = found or MAX_IMAGE_FACTOR
    subject = f"{'' if found else 'even '}{factor:.2g} times as many images"
    power = compute_power_with_more_images(pilot, pilot.num, goal, factor)
    return (
        "More seeds of the same folds do not help, because the folds share training images. "
        f"{_describe_power(pair, goal, subject, power)}, provided that the variance between folds is inversely "
        f"proportional to the number of images{'' if found else f'; {GIVE_UP}'}."
    )


def _format(pair: _Comparison, value: float) -> str:
    return format_loss(value, pair.mean)
