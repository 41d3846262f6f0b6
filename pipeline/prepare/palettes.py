"""Compare the palettes of masks whose indices stand for classes: the same index must be the same color in all."""

from __future__ import annotations

from collections import Counter

from pipeline.imaging.mask_decoding import Palette
from pipeline.prepare.faults import Fault, Kind
from pipeline.prepare.pairs import Pair

SHOWN = 6  # entries of a palette in a message


class PaletteCheck:
    """The index of each color and the color of each index in the masks so far."""

    def __init__(self) -> None:
        self._by_index: dict[int, tuple[int, Pair, Palette]] = {}
        self._by_color: dict[int, tuple[int, Pair, Palette]] = {}

    def check(self, pair: Pair, palette: Palette) -> list[Fault]:
        """Compare a mask's palette with those before.

        Args:
            pair: of the mask.
            palette: its entries that occur.

        Returns:
            A fault if a color has another index than before, or an index another color. A palette that only spells
            out gray (index 1 is #010101) names no colors: any colors may take its place. It still says that 0 is black,
            as gray masks without a palette do: black may have no other index.
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
            detail = f"{_spell(palette)}, but {other.truth} {_spell(theirs)}"
            return [Fault(Kind.PALETTE, pair.id, pair.truth, detail)]
        for index, color in palette:
            if not is_gray:
                self._by_index.setdefault(index, (color, pair, palette))
            if times[color] == 1:
                self._by_color.setdefault(color, (index, pair, palette))
        return []


def _spell(palette: Palette) -> str:
    more = f" and {len(palette) - SHOWN} more" if len(palette) > SHOWN else ""
    return ", ".join(f"{index} is #{color:06x}" for index, color in palette[:SHOWN]) + more
