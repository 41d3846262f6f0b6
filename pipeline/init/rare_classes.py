"""Report foreground classes with so few pixels that a training may leave them out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.prepare.names import listed
from pipeline.runs import SegmentationClass

MIN_SHARE = 0.01  # of the evaluated pixels


def describe_rare_classes(shares: Mapping[str, float], classes: Sequence[SegmentationClass]) -> list[str]:
    """Name the foreground classes with a small share of the pixels, and the settings that help.

    Args:
        shares: of the pixels, by the class's name; classes that do not occur are missing.
        classes: of the data.
    """
    foreground = [one.name for one in classes if one.foreground and one.name in shares]
    rare = sorted((name for name in foreground if shares[name] < MIN_SHARE), key=shares.__getitem__)
    if not rare:
        return []
    which = listed([f"{name} ({shares[name]:.2%})" for name in rare])
    holds = "holds" if len(rare) == 1 else "hold"
    return [
        f"{which} {holds} less than {MIN_SHARE:.0%} of the pixels, and cross-entropy may learn to leave such a class "
        f"out. Try train.objective: cross_entropy_dice or focal, more train.epochs, or a larger data.image_size; see "
        f"docs/recipe.md, Rare classes."
    ]
