"""Verdict on a run: one word, the evidence for it, and the checks that were not possible."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from pipeline.analysis.curves import Gaps, LossCurves, compute_gaps
from pipeline.analysis.overfitting_onset import CERTAIN_EVIDENCE, MIN_EPOCHS, Onset, OnsetSearch, find_onset
from pipeline.analysis.rank_trend import compute_rise_p_value
from pipeline.wording import pluralize

if TYPE_CHECKING:  # imports pydantic; `pipeline judge` must start fast
    from pipeline.analysis.baselines import OneClassCheck

VerdictWord = Literal["learning", "memorizing", "overfitting", "underfitting", "diverged", "undecided"]

# Maximum p-value of the Mann-Kendall test of the losses after the lowest one. It finds rises that begin before the loss
# has settled, or that a few very noisy epochs hide from the search for an onset.
MAX_P_VALUE = 0.002
MIN_PROGRESS = 0.05  # minimum decrease of the training loss, as a share of its first value; used without a baseline
MAX_UNEVENNESS = 0.1  # maximum deviation of the steps between validations from their median, as a share of it
ONSET_NOT_CHECKED = "Onset: "  # start of the reason in `not_checked`


@dataclass(frozen=True)
class Thresholds:
    """Thresholds of the verdicts; the `verdict` section of `params.yaml` sets them and states their sources."""

    underfitting: float = 0.9  # highest final training loss, as a share of the class-prior baseline
    memorizing: float = 1.5  # minimum ratio of validation to training loss at the last epoch
    overfitting: float = 0.05  # minimum rise of the validation loss after the onset, as a share of its lowest value


@dataclass(frozen=True)
class Verdict:
    """Verdict on a run."""

    word: VerdictWord
    evidence: tuple[str, ...]  # phrases with the numbers that the verdict is based on
    not_checked: tuple[str, ...]  # checks that were not possible, and why
    gaps: Gaps | None  # None if a loss is NaN or infinite
    onset: tuple[int, int, int] | None  # epoch, and first and last epoch of its interval; None without an onset


def judge(
    curves: LossCurves,
    baseline: float | None = None,
    thresholds: Thresholds | None = None,
    one_class: OneClassCheck | None = None,
) -> Verdict:
    """Judge a run by its loss curves.

    The verdict is the first of these that applies:

    - `diverged`: a loss is NaN or infinite.
    - `underfitting`: the final training loss is above `thresholds.underfitting` times the baseline.
    - `overfitting`: the validation loss has an onset, or rises steadily after its minimum, by at least
      `thresholds.overfitting`, while the training loss does not rise.
    - `memorizing`: the final validation loss is at least `thresholds.memorizing` times the training loss, but is not
      getting worse.
    - `undecided`: there is only one epoch, overfitting is possible but not certain, both losses rise, or the validation
      loss was never lower than after the first epoch.
    - `learning`, unless the run does no better than predicting one class everywhere. The verdict is then `memorizing`
      if the run does better on the training images, `underfitting` if not, and `undecided` if the training images have
      fewer than two classes.

    If a loss is negative, zero is not its lowest possible value, so shares of a loss and ratios have no meaning. Then
    `underfitting` is a training loss that does not end below its first value, the rise is a share of the fall of the
    validation loss from its first to its lowest value, and `memorizing` is not checked.

    Args:
        curves: loss curves with at least one epoch.
        baseline: class-prior baseline (`baselines.compute_class_prior_baseline`) in the unit of the curves; None if
            unknown. Without it, a training loss that falls by less than `MIN_PROGRESS` is underfitting.
        thresholds: thresholds of the verdicts; None for the defaults.
        one_class: comparison of the run's masks with the one-class baseline; None if only the curves are known. If the
            run does not beat that baseline, the evidence of any verdict includes the comparison.
    """
    gaps = compute_gaps(curves)
    if gaps is None:
        return _judge_diverged(curves)
    not_checked: list[str] = []
    search = _search_onset(curves, not_checked)
    onset = search.onset if search else None
    both_rise = onset is not None and not _training_improves(curves, onset.index, onset.rise)
    onset = None if both_rise else onset
    steady = None if onset or both_rise else _find_steady_rise(curves)
    case = _Case(curves, baseline, thresholds or Thresholds(), gaps, search, onset, both_rise, steady, one_class)
    word, reason = _choose_verdict(case)
    evidence = [_describe_end(curves, gaps)]
    onset_epochs = None
    if onset is not None:
        onset_epochs = curves.epochs[onset.index], curves.epochs[onset.low], curves.epochs[onset.high]
        when = f"after {curves.unit} {{}} (between {{}} and {{}})".format(*onset_epochs)
        evidence.append(f"validation rises by {case.describe(onset)} {when}, while training does not")
    if steady is not None:
        when = f"after {curves.unit} {curves.epochs[steady.index]}"
        evidence.append(f"validation rises by {case.describe(steady)} {when}, while training does not")
    if reason:
        evidence.append(reason)
    if curves.has_negative:
        not_checked.append(
            "Underfitting: shares of the baseline or of the first loss have no meaning for a loss that can be "
            "negative; only whether training ends below its first loss was checked."
        )
        not_checked.append("Memorizing: a ratio of losses has no meaning for a loss that can be negative.")
    else:
        if baseline is None:
            not_checked.append("Underfitting: the class-prior baseline is not known.")
        if gaps.ratio is None:
            not_checked.append("Memorizing: the training loss is not positive, so there is no ratio.")
    if one_class is not None:
        if one_class.not_checked:
            not_checked.append(one_class.not_checked)
        if one_class.beats_on_validation is False:
            evidence.append(one_class.phrase)
    return Verdict(word, tuple(evidence), tuple(not_checked), gaps, onset_epochs)


class Rise(Protocol):
    """A rise of the validation loss."""

    @property
    def rise(self) -> float:
        """From the lowest loss to the end, in the curve's unit."""

    @property
    def lowest(self) -> float:
        """Loss that the rise begins at, less noisy than a single measured loss."""


@dataclass(frozen=True)
class _Case:
    """Inputs that determine a verdict."""

    curves: LossCurves
    baseline: float | None
    thresholds: Thresholds
    gaps: Gaps
    search: OnsetSearch | None
    onset: Onset | None
    both_rise: bool  # whether validation has an onset, but training rises as well
    steady: _SteadyRise | None  # None if there is an onset
    one_class: OneClassCheck | None

    def compute_share(self, rise: Rise) -> float:
        """Compute a rise as a share of the loss that it begins at; of the fall before it if a loss is negative."""
        whole = float(self.curves.val[0]) - rise.lowest if self.curves.has_negative else rise.lowest
        return rise.rise / whole if whole > 0 else float("inf")

    def describe(self, rise: Rise) -> str:
        """Describe a rise as a share; in the curve's unit if it has no share, and also if a loss is negative."""
        share = self.compute_share(rise)
        if share == float("inf"):
            return f"{rise.rise:.3f}"
        return f"{rise.rise:.3f} ({share:.1%} of its fall)" if self.curves.has_negative else f"{share:.1%}"

    def counts_as_overfitting(self, rise: Rise) -> bool:
        """Return whether a rise reaches the threshold."""
        return self.compute_share(rise) >= self.thresholds.overfitting


def _describe_end(curves: LossCurves, gaps: Gaps) -> str:
    """Describe the losses at the end of the curves."""
    when = f"after {pluralize(len(curves.epochs), 'epoch')}"
    if curves.point == "validation":
        when = f"at {curves.unit} {curves.epochs[-1]}, after {pluralize(len(curves.epochs), 'validation')},"
    comparison = ""
    if gaps.ratio:
        comparison = f", {gaps.ratio:.2f} times as high"
    elif curves.has_negative:
        comparison = f", {abs(gaps.last):.3f} {'higher' if gaps.last >= 0 else 'lower'}"
    return f"{when} training is at {curves.train[-1]:.3f}, validation at {curves.val[-1]:.3f}{comparison}"


def _choose_verdict(case: _Case) -> tuple[VerdictWord, str]:
    """Return the first verdict that applies, and its reason."""
    curves, thresholds, ratio = case.curves, case.thresholds, case.gaps.ratio
    last, first = float(curves.train[-1]), float(curves.train[0])
    if curves.has_negative:
        if len(curves.epochs) > 1 and last >= first:
            return "underfitting", "training does not end below its first loss"
    elif case.baseline is not None:
        if last > thresholds.underfitting * case.baseline:
            share = f"{last / case.baseline:.2f} of the class-prior baseline of {case.baseline:.3f}"
            return "underfitting", f"training ends at {share}"
    elif len(curves.epochs) > 1 and last > (1 - MIN_PROGRESS) * first:
        end = f"ends at {last / first:.2f} of its first value" if first else "does not end below its first loss"
        return "underfitting", f"training {end}"
    found = case.onset or case.steady
    if found is not None and case.counts_as_overfitting(found):
        fall = " of the fall" if curves.has_negative else ""
        return "overfitting", f"a rise of {thresholds.overfitting:.0%}{fall} counts as overfitting"
    if ratio is not None and ratio >= thresholds.memorizing:
        return "memorizing", f"a ratio of {thresholds.memorizing:g} counts as memorizing"
    if len(curves.epochs) == 1:
        return "undecided", f"one {curves.point} shows no direction"
    search = case.search
    if case.both_rise and search is not None and case.counts_as_overfitting(search):
        return "undecided", f"validation rises by {case.describe(search)}, but training rises as well"
    if search is not None and search.is_doubtful and case.counts_as_overfitting(search):
        return "undecided", (
            f"validation may be rising by {case.describe(search)}, but this is not certain: the "
            f"rise explains {search.evidence:.0f} times the noise variance instead of at least {CERTAIN_EVIDENCE:.0f}"
        )
    if case.gaps.best_epoch == curves.epochs[0]:
        return "undecided", f"validation was never lower than after the first {curves.point}"
    if case.one_class is not None and case.one_class.fallback_verdict is not None:
        return case.one_class.fallback_verdict, ""
    return "learning", f"a ratio of {thresholds.memorizing:g} would count as memorizing" if ratio else ""


def _judge_diverged(curves: LossCurves) -> Verdict:
    is_bad = ~(np.isfinite(curves.train) & np.isfinite(curves.val))
    epoch = curves.epochs[int(is_bad.argmax())]
    return Verdict("diverged", (f"a loss is NaN or infinite at {curves.unit} {epoch}",), (), None, None)


def _search_onset(curves: LossCurves, not_checked: list[str]) -> OnsetSearch | None:
    """Search for an onset; if that is not possible, append the reason to `not_checked`."""
    if uneven := _find_uneven_spacing(curves):
        not_checked.append(f"{ONSET_NOT_CHECKED}{uneven}")
        return None
    search = find_onset(curves.val)
    if search.evidence is None:
        epochs = pluralize(len(curves.epochs), curves.point)
        not_checked.append(f"{ONSET_NOT_CHECKED}the curves have {epochs}; the search requires at least {MIN_EPOCHS}.")
    return search


def _find_uneven_spacing(curves: LossCurves) -> str:
    """Describe where the epochs or steps of the curves are not evenly spaced; empty if they are."""
    pairs = list(itertools.pairwise(curves.epochs))
    spacings = [after - before for before, after in pairs]
    if curves.unit == "epoch":
        missing = next((pair for pair in pairs if pair[1] - pair[0] != min(spacings)), None)
        reason = "epochs are missing between {} and {}; the search requires evenly spaced epochs."
    else:  # the last batch of an epoch, or a step that a tool counts for logging, changes a spacing by a few steps
        usual = sorted(spacings)[len(spacings) // 2] if spacings else 0
        missing = next((pair for pair in pairs if abs(pair[1] - pair[0] - usual) > MAX_UNEVENNESS * usual), None)
        reason = f"steps {{}} and {{}} are not {usual} apart, as most; the search requires evenly spaced validations."
    return reason.format(*missing) if missing else ""


@dataclass(frozen=True)
class _SteadyRise:
    """A rise of the validation loss from its minimum to the end of the curve."""

    index: int  # of the minimum
    lowest: float  # median of the minimum and its neighbors, which are less biased than the minimum itself
    rise: float  # from there to the median of the last three losses


def _find_steady_rise(curves: LossCurves) -> _SteadyRise | None:
    """Find a rise that no random order of the losses after the minimum explains, while training does not rise.

    The test remains valid although it begins at the minimum: for noise without a trend, all orders of the losses after
    it are equally likely.
    """
    val = curves.val
    index = int(val.argmin())
    if compute_rise_p_value(val[index + 1 :]) > MAX_P_VALUE:
        return None
    lowest = float(np.median(val[max(0, index - 1) : index + 2]))
    rise = float(np.median(val[-3:])) - lowest
    return _SteadyRise(index, lowest, rise) if rise > 0 and _training_improves(curves, index, rise) else None


def _training_improves(curves: LossCurves, start: int, rise: float) -> bool:
    """Return whether training falls or stays level while validation rises by `rise` from the index `start` on.

    If both losses rise, it is not overfitting.

    The slope is measured by fitting a straight line, because single epochs are noisy. A rise of less than a tenth of
    the validation rise counts as level.
    """
    after = curves.train[start:]
    offset = np.arange(len(after)) - (len(after) - 1) / 2
    slope = float(offset @ after / (offset @ offset)) if len(after) > 1 else 0.0
    return slope * (len(after) - 1) < rise / 10
