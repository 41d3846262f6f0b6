"""View classes that several sections of the report use.

To add a section, write a module in `sections/` with its view classes and a function that builds them from artifacts,
write a template in `reports/templates`, and add the section to `write_report.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from pipeline.errors import PipelineError
from pipeline.imaging.resize import FixedSize, Resize

Mask = npt.NDArray[np.uint8]  # H x W, class indices or IGNORE
ImageArray = npt.NDArray[np.uint8 | np.uint16]  # H x W x C
Pixels = TypeVar("Pixels", bound=npt.NDArray[Any])

MAX_SIZE = 512  # px; larger images are shrunk to this size, at which most screens show enlarged images


class NothingToShowError(PipelineError):
    """Raised if a section has no content for the selected runs, although no file is missing."""


@dataclass(frozen=True)
class Notice:
    """A message in place of missing content, with advice on what to do."""

    title: str
    text: str
    is_fault: bool  # whether the content should exist

    @classmethod
    def from_error(cls, title: str, error: PipelineError) -> Notice:
        """Create the notice for content that could not be built."""
        return cls(title, str(error), is_fault=not isinstance(error, NothingToShowError))


@contextmanager
def collect_problem(problems: list[Notice], title: str) -> Iterator[None]:
    """Add a notice to `problems` if the block cannot build its content."""
    try:
        yield
    except PipelineError as error:
        problems.append(Notice.from_error(title, error))


@dataclass(frozen=True)
class EmbeddedImage:
    """An image embedded in the page."""

    src: str  # data URI
    alt: str
    caption: str
    width: int  # px of the file, not of the page
    height: int
    is_mask: bool  # pixels of masks stay sharp when enlarged; images are interpolated
    aspect: float  # width / height on the page, which differs from the file's for stretched images
    stretched: bool = False  # whether the contrast is increased for display


@dataclass(frozen=True)
class LegendEntry:
    """A color and its meaning."""

    color: str  # #rrggbb
    text: str


@dataclass(frozen=True)
class Frame:
    """The size of an original image, how it was resized to its prepared image, and how large it is shown."""

    height: int  # px of the original
    width: int  # px of the original
    resize: Resize
    max_size: int = MAX_SIZE  # px, longer side of the embedded image

    @property
    def aspect(self) -> float:
        """Width / height of the original."""
        return self.width / self.height

    def crop(self, values: Pixels) -> Pixels:
        """Remove the padding of a prepared image (H x W x C) or mask (H x W)."""
        resizing = FixedSize(values.shape[:2], self.resize)
        return cast("Pixels", values[resizing.locate_inner((self.height, self.width))])
