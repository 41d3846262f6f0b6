"""A notice on images that were left out because another split has them too."""

from __future__ import annotations

from collections import Counter

from pipeline.runs import SPLITS


def leak_notice(left_out: Counter[tuple[str, str]], is_published: bool) -> str | None:
    """Say how many images were left out of each split, and why.

    Args:
        left_out: how many images of a split look the same as an image of another split, by both names.
        is_published: whether the splits are those of a published data set.

    Returns:
        A sentence or two for the report; None if nothing was left out.
    """
    parts = []
    for split in SPLITS:
        others = {other: count for (of, other), count in left_out.items() if of == split}
        if count := sum(others.values()):
            named = " or ".join(other for other in SPLITS if other in others) or "the showcase"
            images = "1 image was" if count == 1 else f"{count:,} images were"
            parts.append(f"{images} left out of {split}, because {named} has the same image too")
    if not parts:
        return None
    known = "a known leak of the published data set" if is_published else "a leak between the splits of the data set"
    effect = "Trained on, such images would make the scores and the gap look better than they are."
    return f"{'; '.join(parts)}: {known}. {effect}"
