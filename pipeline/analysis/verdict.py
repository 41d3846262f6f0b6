"""One word for a training, with the evidence for it and the checks that could not be made."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.analysis.curves import Curves, Gaps, gaps
from pipeline.analysis.one_class import OneClassCheck
from pipeline.analysis.onset import CERTAIN, FEWEST_EPOCHS, Onset, Search, find_onset

Word = Literal["learning", "memorising", "overfitting", "underfitting", "diverged", "undecided"]

NO_PROGRESS = 0.95  # of the first training loss: what underfitting is without a baseline


@dataclass(frozen=True)
class Thresholds:
    """Where one word ends and the next begins. `params.yaml` has them, with their sources, under `verdict`."""

    underfitting: float = 0.9
    memorising: float = 1.5
    overfitting: float = 0.05


@dataclass(frozen=True)
class Verdict:
    """What a training came to.

    Attributes:
        word: the verdict.
        evidence: sentences with the numbers that it rests on.
        not_checked: what could not be checked, and why.
        gaps: the numbers; None where a loss is NaN or infinite.
        onset: where validation begins to worsen, as numbers of epochs: most likely, first and last that may be it; None
            where there is none to be seen.
    """

    word: Word
    evidence: tuple[str, ...]
    not_checked: tuple[str, ...]
    gaps: Gaps | None
    onset: tuple[int, int, int] | None


def judge(
    curves: Curves,
    baseline: float | None = None,
    thresholds: Thresholds | None = None,
    one_class: OneClassCheck | None = None,
) -> Verdict:
    """Judge a training by its curves.

    The words are tried in this order, and the first that holds is the verdict: `diverged` where a loss is NaN or
    infinite; `underfitting` where training ends above `thresholds.underfitting` of the baseline; `overfitting` where
    validation has an onset and rises by `thresholds.overfitting` after it, while training does not; `memorising`
    where validation ends at `thresholds.memorising` times the training loss, which does not hurt yet; `undecided` where
    there is too little to say; else `learning`, but never if the run does no better than predicting one class
    everywhere: then `memorising` if it does on the training images, `underfitting` if not even there, `undecided` if
    they have fewer than two classes.

    Args:
        curves: a loss an epoch, at least one epoch.
        baseline: the loss of knowing only how frequent each class is (`pipeline.analysis.scores.baseline`), in the
            curves' unit; None where it is not known. Underfitting is then a training loss above `NO_PROGRESS` of its
            first value.
        thresholds: None for the defaults.
        one_class: the run's masks against those of the one-class baseline; None if only curves are known. A run
            that does not beat it has that in its evidence, whatever the verdict.
    """
    found = gaps(curves)
    if found is None:
        return _diverged(curves)
    not_checked: list[str] = []
    search = _search(curves, not_checked)
    onset = search.onset if search and search.onset and _training_goes_on(curves, search.onset) else None
    case = _Case(curves, baseline, thresholds or Thresholds(), found, search, onset, one_class)
    if baseline is None:
        not_checked.append("Underfitting by the classes' shares: their loss, the baseline, is not known.")
    if found.ratio is None:
        not_checked.append("Memorising: the training loss is not positive, so there is no ratio.")
    word, reason = next(said for check in _CHECKS if (said := check(case)))
    if one_class is not None and one_class.not_checked:
        not_checked.append(one_class.not_checked)
    label = one_class.phrase if one_class is not None and one_class.validation is False else ""
    evidence = [case.numbers(), *([case.rise()] if onset else []), *(text for text in (reason, label) if text)]
    return Verdict(word, tuple(evidence), tuple(not_checked), found, case.onset_epochs())


@dataclass(frozen=True)
class _Case:
    """What the checks look at."""

    curves: Curves
    baseline: float | None
    limits: Thresholds
    gaps: Gaps
    search: Search | None
    onset: Onset | None
    one_class: OneClassCheck | None

    def numbers(self) -> str:
        train, val = self.curves.train[-1], self.curves.val[-1]
        times = f", {self.gaps.ratio:.2f} times as high" if self.gaps.ratio else ""
        return f"after {_epochs(self.curves)} training is at {train:.3f}, validation at {val:.3f}{times}"

    def onset_epochs(self) -> tuple[int, int, int] | None:
        if self.onset is None:
            return None
        epochs = self.curves.epochs
        return epochs[self.onset.place], epochs[self.onset.low], epochs[self.onset.high]

    def share_of(self, rise: float) -> float:
        """A fitted rise as a share of the lowest fitted loss."""
        lowest = float(self.curves.val[-1]) - rise
        return rise / lowest if lowest > 0 else float("inf")

    def rise(self) -> str:
        epochs = self.onset_epochs()
        assert epochs is not None
        assert self.onset is not None
        when = f"after epoch {epochs[0]} (between {epochs[1]} and {epochs[2]})"
        return f"validation rises by {self.share_of(self.onset.rise):.1%} {when}, while training does not"


def _underfits(case: _Case) -> tuple[Word, str] | None:
    last, first = float(case.curves.train[-1]), float(case.curves.train[0])
    if case.baseline is not None:
        if last <= case.limits.underfitting * case.baseline:
            return None
        known = f"{case.baseline:.3f}, the loss of knowing the classes' shares alone"
        return "underfitting", f"training ends at {last / case.baseline:.2f} of {known}"
    if len(case.curves.epochs) == 1 or last <= NO_PROGRESS * first:
        return None
    return "underfitting", f"training ends at {last / first:.2f} of its first value"


def _overfits(case: _Case) -> tuple[Word, str] | None:
    if case.onset is None or case.share_of(case.onset.rise) < case.limits.overfitting:
        return None
    return "overfitting", f"a rise of {case.limits.overfitting:.0%} counts as overfitting"


def _memorises(case: _Case) -> tuple[Word, str] | None:
    if case.gaps.ratio is None or case.gaps.ratio < case.limits.memorising:
        return None
    return "memorising", f"{case.limits.memorising:g} times count as memorising"


def _cannot_tell(case: _Case) -> tuple[Word, str] | None:
    if len(case.curves.epochs) == 1:
        return "undecided", "one epoch shows no direction"
    search = case.search
    if search is not None and search.doubtful and case.share_of(search.rise) >= case.limits.overfitting:
        rise = f"by {case.share_of(search.rise):.1%}: that saves {search.evidence:.0f} times the noise's variance"
        return "undecided", f"validation may be rising {rise}, and {CERTAIN:.0f} times would be certain"
    if case.gaps.best_epoch == case.curves.epochs[0]:
        return "undecided", "validation was never lower than after the first epoch"
    return None


def _predicts_one_class(case: _Case) -> tuple[Word, str] | None:
    word = case.one_class.instead_of_learning if case.one_class else None
    return (word, "") if word else None


def _learns(case: _Case) -> tuple[Word, str]:
    return "learning", f"{case.limits.memorising:g} times would count as memorising" if case.gaps.ratio else ""


_CHECKS: tuple[Callable[[_Case], tuple[Word, str] | None], ...] = (
    _underfits,
    _overfits,
    _memorises,
    _cannot_tell,
    _predicts_one_class,
    _learns,
)


def _diverged(curves: Curves) -> Verdict:
    bad = ~(np.isfinite(curves.train) & np.isfinite(curves.val))
    epoch = curves.epochs[int(bad.argmax())]
    return Verdict("diverged", (f"a loss is NaN or infinite at epoch {epoch}",), (), None, None)


def _search(curves: Curves, not_checked: list[str]) -> Search | None:
    """The search for an onset; None, and a reason, where it cannot be made."""
    pairs = list(itertools.pairwise(curves.epochs))
    step = min((after - before for before, after in pairs), default=1)
    hole = next((pair for pair in pairs if pair[1] - pair[0] != step), None)
    if hole:
        not_checked.append(f"Onset: epochs are missing between {hole[0]} and {hole[1]}; it takes even steps.")
        return None
    search = find_onset(curves.val)
    if search.evidence is None:
        not_checked.append(f"Onset: {_epochs(curves)} in all; it takes {FEWEST_EPOCHS}.")
    return search


def _training_goes_on(curves: Curves, onset: Onset) -> bool:
    """Whether training falls, or at least stays, from the onset on: where both losses rise it is no overfitting.

    By the slope of a straight line, since single epochs are noisy. A tenth of validation's rise counts as staying.
    """
    after = curves.train[onset.place :]
    place = np.arange(len(after)) - (len(after) - 1) / 2
    rise = float(place @ after / (place @ place)) * (len(after) - 1) if len(after) > 1 else 0.0
    return rise < onset.rise / 10


def _epochs(curves: Curves) -> str:
    count = len(curves.epochs)
    return f"{count} epoch" + ("" if count == 1 else "s")
