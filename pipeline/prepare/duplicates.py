"""Find images that look the same as another one, across splits and within one."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from pipeline.errors import PipelineError
from pipeline.params.data.image_data import NearDuplicates
from pipeline.prepare.decoding.decode import Look
from pipeline.prepare.decoding.look_alikes import LookAlikes
from pipeline.prepare.faults import Fault, Kind
from pipeline.prepare.names import image_id, listed
from pipeline.prepare.pairs import Pair
from pipeline.runs import SHOWCASE, SPLITS


@dataclass(frozen=True, eq=False)
class DuplicatePair:
    """Two images that look the same.

    Attributes:
        names: their ids.
        splits: that they are in; twice the same one if they leak nothing.
        images: H x W x C, as prepared.
    """

    names: tuple[str, str]
    splits: tuple[str, str]
    images: tuple[NDArray[Any], NDArray[Any]]


class DuplicateCheck:
    """Compares images in the order of their splits.

    Args:
        limits: when two images count as the same, and which do not.
        names: ids of all images, also of those whose masks cannot be used.
        key: of the section, for messages.
        chooses_showcase: whether the showcase is taken from training by a hash. Then training images that look the same
            as it are not the user's fault: they are kept, and reported.

    Raises:
        PipelineError: `distinct` names an image that is not there, or one image twice.
    """

    def __init__(
        self, limits: NearDuplicates, names: Collection[str], key: str, chooses_showcase: bool = False
    ) -> None:
        self._chooses_showcase = chooses_showcase
        self._index = LookAlikes(limits)
        self._distinct: dict[str, set[str]] = {}
        mistakes = []
        for written in limits.distinct:
            one, other = (image_id(name) for name in written)
            if unknown := [name for name in (one, other) if name not in names]:
                mistakes.append(
                    f"there is no image {listed(unknown)}; write paths below images/ without their endings."
                )
            elif one == other:
                mistakes.append(f"{listed(written)} is one image; write the two that are different.")
            self._distinct.setdefault(one, set()).add(other)
            self._distinct.setdefault(other, set()).add(one)
        if mistakes:
            raise PipelineError("\n".join(f"{key}.near_duplicates.distinct: {mistake}" for mistake in mistakes))
        self._seen: dict[str, tuple[Pair, str]] = {}
        self.within: list[tuple[str, str]] = []
        self.of_showcase: list[tuple[str, str]] = []  # the showcase, and an image of training that looks the same
        self._across: list[tuple[str, str]] = []

    def check(self, pair: Pair, look: Look, split: str) -> list[Fault]:
        """Compare an image with those before.

        Returns:
            A fault if it looks the same as one of another split; such an image is not compared with later ones.
        """
        alike = self._index.find(look.sha256, look.appearance, self._distinct.get(pair.id, ()))
        if self._chooses_showcase and split == SPLITS[0]:
            shown = [name for name in alike if self._seen[name][1] == SHOWCASE]
            self.of_showcase += [(name, pair.id) for name in shown]
            alike = [name for name in alike if name not in shown]
        for name in alike:
            other, where = self._seen[name]
            if where != split:
                self._across.append((pair.id, name))
                self._seen[pair.id] = (pair, split)
                return [Fault(Kind.LOOKS_ALIKE, pair.id, pair.image, f"in {split}, as {other.image} in {where}")]
        if alike:
            self.within.append((alike[0], pair.id))
        self._seen[pair.id] = (pair, split)
        self._index.add(pair.id, look.sha256, look.appearance)
        return []

    def leaks(self) -> Iterator[tuple[str, str, tuple[str, str]]]:
        """List ids and splits of the pairs in two splits; the first image of each is left out."""
        return map(self._with_splits, self._across)

    def pairs(self) -> Iterator[tuple[str, str, tuple[str, str]]]:
        """List ids and splits of all pairs, those in two splits first."""
        return map(self._with_splits, (*self._across, *self.of_showcase, *self.within))

    def _with_splits(self, pair: tuple[str, str]) -> tuple[str, str, tuple[str, str]]:
        one, other = pair
        return one, other, (self._seen[one][1], self._seen[other][1])
