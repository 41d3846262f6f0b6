"""What `data` may say of the bundled pictures, which samples are composed of."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.params.data.fields import ImageSize, Share, TrainImages, positive_range
from pipeline.params.data.image_data import ExternalTestFolder, Resize
from pipeline.params.section import Section


class Samples(Section):
    """How many samples `prepare` makes for each split."""

    train: int = Field(ge=2)
    validation: int = Field(ge=1)
    test: int = Field(ge=1)


class Composition(Section):
    """How an animal and a photograph make a sample; a share is of the image's side where nothing else is said."""

    scale: Annotated[tuple[float, float], positive_range(3)] = (0.45, 0.95)  # longest side of an animal
    overhang: float = Field(default=0.2, ge=0, le=0.9)  # most of an animal's width, or height, outside the image
    visible: float = Field(default=0.75, gt=0, le=1)  # least share of an animal's area inside, where it has room
    twice: Share = 0.2  # share of the samples that show the animal in two poses
    border: float = Field(default=7 / 128, gt=0, le=0.5)  # width of the border
    crop: Annotated[tuple[float, float], positive_range(1)] = (
        0.6,
        1.0,
    )  # side of the background's crop by its shorter side
    blur: float = Field(default=0.0, ge=0, le=0.2)  # most blur of the background: a Gaussian's standard deviation
    tint: float = Field(default=0.0, ge=0, le=0.5)  # most change of each colour of the whole image: 1 ± tint


class CompositesData(Section):
    """The bundled pictures, composed to any number and size of samples."""

    source: Literal["sample"]
    path: str = Field(min_length=1)
    image_size: ImageSize
    samples: Samples
    composition: Composition = Composition()
    test: ExternalTestFolder | None = None
    seed: int = Field(ge=0)
    train_images: TrainImages | None

    @property
    def resize(self) -> Resize:
        """How a photograph is made to fit: its aspect kept, as animals keep theirs in composites."""
        return "pad"
