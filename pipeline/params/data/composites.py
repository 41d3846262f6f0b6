"""Schema of `data` for composites of the bundled images."""

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
    """Number of test composites. Unused with `external_test`."""


class Composition(Section):
    """How an animal is pasted onto a background. Lengths are fractions of the image's shorter side, unless noted."""

    scale: Annotated[tuple[float, float], positive_range(3)] = (0.7, 1.1)
    """Longer side of an animal, drawn uniformly from this range."""
    max_overflow: float = Field(default=0.2, ge=0, le=0.9)
    """Maximum fraction of an animal's width or height that may be outside the image."""
    min_visible_fraction: float = Field(default=0.75, gt=0, le=1)
    """Minimum fraction of an animal's area inside the image. Animals larger than the image are exempt."""
    two_poses_prob: Share = 0.1
    """Probability that a sample shows its animal in two poses."""
    border: float = Field(default=0.02, gt=0, le=0.5)
    """Width of the border class."""
    crop: Annotated[tuple[float, float], positive_range(1)] = (0.6, 1.0)
    """Size of the background crop, as a fraction of the largest possible crop, drawn uniformly from this range."""
    blur: float = Field(default=0.0, ge=0, le=0.2)
    """Maximum standard deviation of the Gaussian blur of the background."""
    color_jitter: float = Field(default=0.0, ge=0, le=0.5)
    """Each channel is multiplied by a random factor of 1 ± this value at most."""


class CompositesData(Section):
    """Bundled images of animals, pasted onto bundled backgrounds. Their number and size can be chosen."""

    source: Literal["composites"]
    """Composites of the bundled images."""
    path: str = Field(min_length=1)
    """Folder of the bundled images."""
    image_size: ImageSize
    """Side of every prepared image in px, or `[height, width]`. Multiples of 32 avoid padding."""
    samples: Samples
    """Number of composites per split."""
    composition: Composition = Composition()
    """How animals are pasted onto backgrounds."""
    external_test: ExternalTestFolder | None = None
    """Folder whose test split replaces the test composites. If null, the test split consists of composites."""
    seed: int = Field(ge=0)
    """Seed of the splits and the composites. It does not affect the seeds of runs."""
    max_train_images: TrainImages | None
    """Number of training images that a run uses. If null, all are used."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the prepared images in px."""
        return list_sides(self.image_size)

    @property
    def resize(self) -> Resize:
        """Resize mode of images that are not composites, such as those to predict."""
        return "letterbox"
