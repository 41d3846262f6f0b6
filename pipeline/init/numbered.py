"""Tell masks that number objects from masks whose values are classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain, pairwise
from statistics import median

from scipy import stats

from pipeline.init.mask_survey import MaskSurvey

MIN_CONNECTED = 0.8  # of the values: those that are one connected region in their mask

_MIN_VALUES, _MIN_COUNTS, _MIN_FILL, _MAX_TREND = 8, 3, 0.6, -0.8
_MIN_MASKS, _MIN_OBJECTS, _MIN_UNIQUE = 5, 3, 0.8  # of numbers that are in no other mask


def are_numbered(seen: MaskSurvey) -> bool:
    """Return whether masks number objects: from 1 on in each mask, from mask to mask, or by numbers of their own."""
    objects = [values - {0} for values in seen.values if values - {0}]
    if len(seen.pixels) <= _MIN_VALUES or not objects or seen.connected_share < MIN_CONNECTED:
        return False
    return _count_from_one(objects) or _run_on(objects) or _are_unique(seen, objects)


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
    """Return whether masks hold several values each, and nearly every value is in one mask only."""
    held = [seen.masks[value] for value in seen.pixels if value]
    is_several = len(objects) >= _MIN_MASKS and median(map(len, objects)) >= _MIN_OBJECTS
    return is_several and held.count(1) >= _MIN_UNIQUE * len(held)
