"""Check that the palettes of masks are consistent."""

from __future__ import annotations

from collections import Counter

from pipeline.imaging.mask_decoding import Palette
from pipeline.prepare.data_issues import DataIssue, IssueKind
from pipeline.prepare.image_mask_pair import ImageMaskPair
from pipeline.wording import join_names

MAX_ENTRIES = 6  # palette entries shown in a message


class PaletteCheck:
    """Consistency check for palettes: each index must have the same color in all masks, and each color one index."""

    def __init__(self) -> None:
        self._by_index: dict[int, tuple[int, ImageMaskPair, Palette]] = {}
        self._by_color: dict[int, tuple[int, ImageMaskPair, Palette]] = {}

    def check(self, pair: ImageMaskPair, palette: Palette) -> list[DataIssue]:
        """Compare a mask's palette with those of the masks checked earlier.

        A gray palette (index 1 is #010101) is consistent with every palette in which black has index 0.

        Returns:
            One issue if an earlier mask has a different index for a color, or a different color for an index;
            otherwise, an empty list.
        """
        times = Counter(color for _, color in palette)
        is_gray = len(palette) > 1 and all(color == index * 0x010101 for index, color in palette)
        conflict = None
        for index, color in palette:
            seen = self._by_index.get(index)
            if seen and seen[0] != color and not is_gray:
                conflict = conflict or seen
            seen = self._by_color.get(color)
            if seen and seen[0] != index and times[color] == 1:
                conflict = conflict or seen
        if conflict is not None:
            _, other, theirs = conflict
            detail = f"{_format_palette(palette)}, but {other.mask} {_format_palette(theirs)}"
            return [DataIssue(IssueKind.PALETTE, pair.id, pair.mask, detail)]
        for index, color in palette:
            if not is_gray:
                self._by_index.setdefault(index, (color, pair, palette))
            if times[color] == 1:
                self._by_color.setdefault(color, (index, pair, palette))
        return []


def _format_palette(palette: Palette) -> str:
    return join_names([f"{index} is #{color:06x}" for index, color in palette], MAX_ENTRIES)
