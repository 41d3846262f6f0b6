"""Schema of `data` for the bundled source of composites."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.params.data.fields import ImageSize, Share, TrainImages, list_sides, positive_range
from pipeline.params.data.image_data import ExternalTestFolder, Resize
from pipeline.params.section import Section


class Samples(Section):
    """Number of samples per split."""

    train: int = Field(ge=2)
    """Number of training composites."""
    validation: int = Field(ge=1)
    """Number of validation composites."""
    test: int = Field(ge=1)
    """Number of test composites; not used with an external test."""


class Composition(Section):
    """How an animal and a background are composed; shares are of the side of the image unless noted."""

    scale: Annotated[tuple[float, float], positive_range(3)] = (0.45, 0.95)
    """Longer side of an animal, drawn uniformly from this range."""
    max_overflow: float = Field(default=0.2, ge=0, le=0.9)
    """Largest fraction of an animal's width, or height, outside the image."""
    min_visible_fraction: float = Field(default=0.75, gt=0, le=1)
    """Smallest fraction of an animal's area inside the image, if it fits."""
    two_poses_prob: Share = 0.2
    """Probability of a sample with the animal in two poses."""
    border: float = Field(default=7 / 128, gt=0, le=0.5)
    """Width of the border class."""
    crop: Annotated[tuple[float, float], positive_range(1)] = (0.6, 1.0)
    """Side of the cropped background, relative to its shorter side."""
    blur: float = Field(default=0.0, ge=0, le=0.2)
    """Largest standard deviation of a Gaussian blur of the background."""
    color_jitter: float = Field(default=0.0, ge=0, le=0.5)
    """Each channel of the image changes by a factor of 1 ± this value at most."""


class CompositesData(Section):
    """The bundled images, composed to any number and size of samples."""

    source: Literal["composites"]
    """The bundled composites."""
    path: str = Field(min_length=1)
    """Folder of the bundled images."""
    image_size: ImageSize
    """Side of every prepared image in px, or `[height, width]`; multiples of 32 are never padded."""
    samples: Samples
    """Number of composites per split."""
    composition: Composition = Composition()
    """How animals and backgrounds are combined."""
    external_test: ExternalTestFolder | None = None
    """Folder whose test split replaces the composites' test; null: none."""
    seed: int = Field(ge=0)
    """Seed of the split and the composites, never of a run."""
    max_train_images: TrainImages | None
    """Number of training images that a run uses; null: all."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the prepared images, px."""
        return list_sides(self.image_size)

    @property
    def resize(self) -> Resize:
        """How other images are resized: keeping the aspect, as composites do."""
        return "letterbox"
