"""Name rare classes, and suggest a loss that learns them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pipeline.artifacts.prepared_data import SegmentationClass
from pipeline.params.train import LossName, Train
from pipeline.wording import join_names

MIN_SHARE = 0.01  # of the evaluated pixels
# With these losses, some seeds missed classes below this share in benchmarks/imbalance.py.
USUAL_LOSSES: tuple[LossName, ...] = ("cross_entropy", "cross_entropy_dice")
# In that benchmark, this loss finds rare classes. Unlike lovasz, it does not increase the loss that ranks runs.
RARE_LOSS: LossName = "cross_entropy_lovasz"

TRAIN_COLUMN = 30  # column of comments in the `train` section, unless the line is longer
_PROPOSED = "  # Proposed by pipeline init in place of "  # the line above a loss
_LOSS = re.compile(rf"^(?:{_PROPOSED}(?P<replaced>\w+): .*\n)?  loss: (?P<loss>\w+) *(?P<comment>#.*)?$", re.MULTILINE)


def describe_rare_classes(shares: Mapping[str, float], classes: Sequence[SegmentationClass]) -> str:
    """Name the foreground classes with less than `MIN_SHARE` of the pixels. Return "" if there are none.

    Args:
        shares: Share of each class in the evaluated pixels. Classes that do not occur are missing.
        classes: Classes of the data.
    """
    foreground = [one.name for one in classes if one.foreground and one.name in shares]
    rare = sorted((name for name in foreground if shares[name] < MIN_SHARE), key=shares.__getitem__)
    which = join_names([f"{name} ({shares[name]:.2%})" for name in rare])
    return f"{which} {'has' if len(rare) == 1 else 'have'} less than {MIN_SHARE:.0%} of the pixels" if rare else ""


def propose_loss(text: str, rare: str) -> str:
    """Replace a usual loss in a `params.yaml` if classes are rare, and undo a suggestion made for other data.

    All other losses are kept.

    Args:
        text: Content of the file.
        rare: Description of the rare classes, or empty.
    """
    found = _LOSS.search(text)
    if found is not None and found["replaced"] and found["loss"] == RARE_LOSS:
        text = _replace_loss(text, found["replaced"])
        found = _LOSS.search(text)
    if found is None or found["loss"] not in USUAL_LOSSES or not rare:
        return text
    loss = found["loss"]
    return _replace_loss(text, RARE_LOSS, f"{_PROPOSED}{loss}: {rare}, and {loss} may miss rare classes\n")


def _replace_loss(text: str, loss: str, above: str = "") -> str:
    def format_lines(found: re.Match[str]) -> str:
        return above + f"{f'  loss: {loss}':{TRAIN_COLUMN}}{found['comment'] or ''}".rstrip()

    return _LOSS.sub(format_lines, text, count=1)


def describe_loss(train: Train, rare: str) -> list[str]:
    """Describe rare classes and the loss that is set for them. Return an empty list if there are none."""
    if not rare:
        return []
    advice = f"Try train.loss: {RARE_LOSS}" if train.loss in USUAL_LOSSES else f"train.loss is {train.loss}"
    other = "data.image_size" if train.patch is None else "train.foreground_patches"
    return [
        f"{rare}, and a network may miss rare classes. {advice}; see docs/how-to/imbalanced-classes.md. "
        f"More train.epochs or a larger {other} may also help."
    ]
