"""Tell masks that number objects from masks whose values are classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain, pairwise

from scipy import stats

from pipeline.init.masks.survey import MaskSurvey
from pipeline.runs import IGNORE

MIN_CONNECTED = 0.8  # of the values: those that are one connected region in their mask

_MAX_RAMPS = 0.5  # of the pixels with values in between: those on soft edges
_MIN_VALUES, _MIN_COUNTS, _MIN_FILL, _MAX_TREND = 8, 3, 0.6, -0.8
_MIN_MASKS, _MIN_NUMBERS, _MIN_UNIQUE = 5, 5, 0.8  # with objects; numbers, and the share that is in few masks
_MAX_SHARED, _MIN_SHARING = 2, 20  # masks with a number, if there are many: crops of one label image share objects


def are_numbered(seen: MaskSurvey) -> bool:
    """Return whether masks number objects, instead of naming classes.

    Either the numbers are from 1 on in each mask, or run on from mask to mask, or nearly all are in one or two masks
    only, as in crops of a label image; or there are more of them than there may be classes.
    """
    objects = [values - {0} for values in seen.values if values - {0}]
    if not objects or seen.lossy or seen.connected_share < MIN_CONNECTED or seen.ramp_share >= _MAX_RAMPS:
        return False
    if len(seen.pixels) > IGNORE:
        return True
    if _are_unique(seen, objects):
        return True
    return len(seen.pixels) > _MIN_VALUES and (_count_from_one(objects) or _run_on(objects))


def _count_from_one(objects: Sequence[frozenset[int]]) -> bool:
    """Return whether most masks hold the numbers from 1 on, up to their highest, and the higher a number the rarer."""
    filled = [values for values in objects if len(values) >= _MIN_FILL * max(values)]
    if len(filled) < len(objects) / 2 or len({max(values) for values in filled}) < _MIN_COUNTS:
        return False
    masks = Counter(chain.from_iterable(objects))
    numbers = range(1, max(map(max, filled)) + 1)  # a single mask may have a number of ten digits
    return bool(stats.spearmanr(numbers, [masks[number] for number in numbers]).statistic < _MAX_TREND)


def _run_on(objects: Sequence[frozenset[int]]) -> bool:
    """Return whether the numbers of each mask begin where those of another end."""
    spans = sorted((min(values), max(values)) for values in objects)
    return len(spans) > 1 and all(before[1] < after[0] for before, after in pairwise(spans))


def _are_unique(seen: MaskSurvey, objects: Sequence[frozenset[int]]) -> bool:
    """Return whether nearly every number is in one mask only, or in two of many: classes would be in more of them."""
    held = [seen.masks[value] for value in seen.pixels if value]
    few = sum(count <= (_MAX_SHARED if len(objects) >= _MIN_SHARING else 1) for count in held)
    return len(objects) >= _MIN_MASKS and len(held) >= _MIN_NUMBERS and few >= _MIN_UNIQUE * len(held)
