"""Find images that look the same as another one, across splits and within one."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from pipeline.errors import PipelineError
from pipeline.params.pictures import NearDuplicates
from pipeline.prepare.decoding.decode import Look
from pipeline.prepare.decoding.look_alikes import LookAlikes
from pipeline.prepare.faults import Fault, Kind
from pipeline.prepare.names import image_id, listed
from pipeline.prepare.pairs import Pair


@dataclass(frozen=True, eq=False)
class DuplicatePair:
    """Two images that look the same.

    Attributes:
        names: their ids.
        splits: that they are in; twice the same one where they leak nothing.
        images: H x W x C, as prepared.
    """

    names: tuple[str, str]
    splits: tuple[str, str]
    images: tuple[NDArray[Any], NDArray[Any]]


class DuplicateCheck:
    """Compares images in the order of their splits.

    Args:
        limits: when two images count as the same, and which do not.
        names: ids of all images.
        key: of the section, for messages.

    Raises:
        PipelineError: `distinct` names an image that is not there.
    """

    def __init__(self, limits: NearDuplicates, names: Collection[str], key: str) -> None:
        self._index = LookAlikes(limits)
        self._distinct: dict[str, set[str]] = {}
        for written in limits.distinct:
            one, other = (image_id(name) for name in written)
            if unknown := [name for name in (one, other) if name not in names]:
                raise PipelineError(
                    f"{key}.near_duplicates.distinct: there is no image {listed(unknown)}; write the paths below "
                    f"images/ without their endings."
                )
            self._distinct.setdefault(one, set()).add(other)
            self._distinct.setdefault(other, set()).add(one)
        self._seen: dict[str, tuple[Pair, str]] = {}
        self.within: list[tuple[str, str]] = []
        self._across: list[tuple[str, str]] = []

    def check(self, pair: Pair, look: Look, split: str) -> list[Fault]:
        """Compare an image with those before.

        Returns:
            A fault where it looks the same as one of another split; such an image is not compared with later ones.
        """
        alike = self._index.find(look.sha256, look.appearance, self._distinct.get(pair.id, ()))
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

    def pairs(self) -> Iterator[tuple[str, str, tuple[str, str]]]:
        """The ids and the splits of all pairs found, those in two splits first."""
        for one, other in (*self._across, *self.within):
            yield one, other, (self._seen[one][1], self._seen[other][1])
