"""Schema of `data` for the bundled source of composites."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.params.data.fields import ImageSize, Share, TrainImages, positive_range
from pipeline.params.data.image_data import ExternalTestFolder, Resize
from pipeline.params.section import Section


class Samples(Section):
    """Number of samples per split."""

    train: int = Field(ge=2)
    validation: int = Field(ge=1)
    test: int = Field(ge=1)


class Composition(Section):
    """How an animal and a background are composed; shares are of the side of the image unless noted."""

    scale: Annotated[tuple[float, float], positive_range(3)] = (0.45, 0.95)  # longer side of the animal
    max_overflow: float = Field(
        default=0.2, ge=0, le=0.9
    )  # largest share of the width, or height, of the animal outside the image
    min_visible_fraction: float = Field(
        default=0.75, gt=0, le=1
    )  # smallest share of the area of the animal inside, if it fits
    two_poses_prob: Share = 0.2  # share of samples with the animal in two poses
    border: float = Field(default=7 / 128, gt=0, le=0.5)  # width of the border
    crop: Annotated[tuple[float, float], positive_range(1)] = (
        0.6,
        1.0,
    )  # side of the crop by the shorter side of the background
    blur: float = Field(default=0.0, ge=0, le=0.2)  # largest standard deviation of the Gaussian blur of the background
    color_jitter: float = Field(default=0.0, ge=0, le=0.5)  # largest change of each channel: factor 1 ± color_jitter


class CompositesData(Section):
    """The bundled images, composed to any number and size of samples."""

    source: Literal["composites"]
    path: str = Field(min_length=1)
    image_size: ImageSize
    samples: Samples
    composition: Composition = Composition()
    external_test: ExternalTestFolder | None = None
    seed: int = Field(ge=0)
    max_train_images: TrainImages | None

    @property
    def resize(self) -> Resize:
        """How other images are resized: keeping the aspect, as composites do."""
        return "letterbox"
