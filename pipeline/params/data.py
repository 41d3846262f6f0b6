"""What the section `data` of `params.yaml` may say: a model a source."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from pipeline.params.section import Section

TrainImages = Annotated[int, Field(ge=2)]
ImageSize = Annotated[int, Field(ge=16, le=2048)]

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_NAME = re.compile(r"\w[\w -]*")
_QUOTES = ' in quotes, such as "#e69f00" (without them YAML takes it for a comment)'


def _colour(value: object) -> object:
    if not isinstance(value, str) or not _COLOUR.fullmatch(value):
        raise ValueError(f"must be a colour{_QUOTES}")
    return value


def _mask_value(value: object) -> object:
    # One error for both kinds; pydantic's own union would complain about a wrong value twice.
    whole = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 65_535
    if not whole and not (isinstance(value, str) and _COLOUR.fullmatch(value)):
        raise ValueError(f"must be a mask's pixel value, a whole number from 0 to 65535 or a colour{_QUOTES}")
    return value


def _class_name(value: object) -> object:
    if not isinstance(value, str) or not _NAME.fullmatch(value):  # columns and metrics are named by it
        raise ValueError("must be a name of letters, digits, _, - and blanks")
    return value


Colour = Annotated[str, BeforeValidator(_colour)]
MaskValue = Annotated[int | str, BeforeValidator(_mask_value)]  # an int, or #rrggbb
ClassName = Annotated[str, BeforeValidator(_class_name)]
Share = Annotated[float, Field(gt=0, lt=1)]


class Samples(Section):
    """How many samples `prepare` makes for each split."""

    train: int = Field(ge=2)
    validation: int = Field(ge=1)
    test: int = Field(ge=1)


class SampleData(Section):
    """The bundled pictures, composed to any number and size of samples."""

    source: Literal["sample"]
    path: str = Field(min_length=1)
    image_size: ImageSize
    samples: Samples
    seed: int = Field(ge=0)
    train_images: TrainImages | None


class FolderClass(Section):
    """A class of the user's masks."""

    name: ClassName
    colour: Colour
    foreground: bool
    edge: bool = False
    value: MaskValue


class SplitShares(Section):
    """The shares of images, or of groups, that validation and test get; training has the rest."""

    validation: Share
    test: Share


class FolderData(Section):
    """A folder of the user's own, with `images/`, `masks/` and perhaps `splits.csv`."""

    source: Literal["folder"]
    path: str = Field(min_length=1)
    image_size: ImageSize
    resize: Literal["squash", "pad"]
    classes: Annotated[list[FolderClass], Field(min_length=2, max_length=255)]  # the index 255 is the ignored one
    ignore: MaskValue | None
    splits: SplitShares
    showcase: Annotated[list[str], Field(min_length=1)] | None
    seed: int = Field(ge=0)
    train_images: TrainImages | None


Data = Annotated[SampleData | FolderData, Field(discriminator="source")]


def folder_mistakes(data: FolderData) -> list[str]:
    """What no single key of a folder's section shows: doubles, and keys that do not fit together."""
    names = [item.name for item in data.classes]
    values = [item.value for item in data.classes] + ([] if data.ignore is None else [data.ignore])
    spelt = [value.lower() if isinstance(value, str) else value for value in values]
    mistakes = [f"data.classes: two classes are named '{name}'; rename one." for name in _doubles(names)]
    mistakes += [
        f"data.classes: the mask value {value!r} stands there, or at data.ignore, twice; a pixel has one class."
        for value in _doubles(spelt)
    ]
    if len({type(value) for value in values}) > 1:
        mistakes.append(
            "data.classes: some mask values are numbers and some are colours; write all of them, data.ignore too, as "
            "numbers (index, grey or palette masks) or all as colours (RGB masks)."
        )
    if not any(item.foreground for item in data.classes):
        mistakes.append("data.classes: no class is foreground; say foreground: true of what the pictures are of.")
    if data.splits.validation + data.splits.test >= 1:
        mistakes.append(
            f"data.splits: validation {data.splits.validation} and test {data.splits.test} leave nothing to train on; "
            f"their sum must be less than 1."
        )
    return mistakes + [f"data.showcase: '{name}' stands there twice; remove one." for name in _doubles(data.showcase)]


def _doubles(values: list[str] | list[str | int] | None) -> list[str | int]:
    found = list(values or ())
    return [value for index, value in enumerate(found) if value in found[:index]]
