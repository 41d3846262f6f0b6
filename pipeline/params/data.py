"""What the section `data` of `params.yaml` may say: a model a source."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath
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
Share = Annotated[float, Field(ge=0, le=1)]


def _low_high(most: float) -> BeforeValidator:
    def check(value: object) -> object:
        ends = tuple(value) if isinstance(value, list | tuple) else ()
        numbers = len(ends) == 2 and all(type(end) in (int, float) for end in ends)
        if not numbers or not 0 < ends[0] <= ends[1] <= most:
            raise ValueError(f"must be [low, high], two numbers above 0 and up to {most:g}, the lower one first")
        return ends

    return BeforeValidator(check)


class Samples(Section):
    """How many samples `prepare` makes for each split."""

    train: int = Field(ge=2)
    validation: int = Field(ge=1)
    test: int = Field(ge=1)


class Composition(Section):
    """How an animal and a photograph make a sample; a share is of the image's side where nothing else is said."""

    scale: Annotated[tuple[float, float], _low_high(3)] = (0.45, 0.95)  # longest side of an animal
    overhang: float = Field(default=0.2, ge=0, le=0.9)  # most of an animal's width, or height, outside the image
    visible: float = Field(default=0.75, gt=0, le=1)  # least share of an animal's area inside, where it has room
    twice: Share = 0.2  # share of the samples that show the animal in two poses
    border: float = Field(default=7 / 128, gt=0, le=0.5)  # width of the border
    crop: Annotated[tuple[float, float], _low_high(1)] = (0.6, 1.0)  # side of the background's crop by its shorter side
    blur: float = Field(default=0.0, ge=0, le=0.2)  # most blur of the background: a Gaussian's standard deviation
    tint: float = Field(default=0.0, ge=0, le=0.5)  # most change of each colour of the whole image: 1 ± tint


class ClassValue(Section):
    """What stands for a class in masks."""

    name: ClassName
    value: MaskValue


class FolderClass(ClassValue):
    """A class of the user's masks."""

    colour: Colour
    foreground: bool
    edge: bool = False


class SplitList(Section):
    """A table that says which split and which group an image belongs to, and what its columns are called."""

    file: str = Field(min_length=1)  # CSV, relative to the folder of the images and masks
    id: str = Field(min_length=1)
    split: str | None
    group: str | None


class SplitShares(Section):
    """The shares of images, or of groups, that validation and test get; training has the rest."""

    validation: Share
    test: Share
    list: SplitList | None = None  # None: splits.csv, where it is there


class FolderImages(Section):
    """A folder with `images/`, `masks/` and perhaps a list of splits."""

    path: str = Field(min_length=1)
    resize: Literal["squash", "pad"]
    ignore: MaskValue | None
    splits: SplitShares


class FolderForTest(FolderImages):
    """A folder whose test split takes the place of composites; the classes are those of the composites, by name."""

    classes: Annotated[list[ClassValue], Field(min_length=2)]


class FolderData(FolderImages):
    """A folder of the user's own as the source."""

    source: Literal["folder"]
    image_size: ImageSize
    classes: Annotated[list[FolderClass], Field(min_length=2, max_length=255)]  # the index 255 is the ignored one
    showcase: list[str] | None  # None: one of training; no name, which only code may ask for: none
    seed: int = Field(ge=0)
    train_images: TrainImages | None


class SampleData(Section):
    """The bundled pictures, composed to any number and size of samples."""

    source: Literal["sample"]
    path: str = Field(min_length=1)
    image_size: ImageSize
    samples: Samples
    composition: Composition = Composition()
    test: FolderForTest | None = None
    seed: int = Field(ge=0)
    train_images: TrainImages | None


Data = Annotated[SampleData | FolderData, Field(discriminator="source")]


def data_mistakes(data: SampleData | FolderData) -> list[str]:
    """What no single key of the section shows: doubles, and keys that do not fit together."""
    if isinstance(data, SampleData):
        return [] if data.test is None else _test_mistakes(data.test)
    mistakes = _folder_mistakes("data", data, data.classes)
    if not any(item.foreground for item in data.classes):
        mistakes.append("data.classes: no class is foreground; say foreground: true of what the pictures are of.")
    if data.splits.validation + data.splits.test >= 1:
        mistakes.append(
            f"data.splits: validation {data.splits.validation} and test {data.splits.test} leave nothing to train on; "
            f"their sum must be less than 1."
        )
    if data.showcase == []:
        mistakes.append("data.showcase: must have at least 1 entry, but is []; null has an image of training chosen.")
    return mistakes + [f"data.showcase: '{name}' stands there twice; remove one." for name in _doubles(data.showcase)]


def _test_mistakes(data: FolderForTest) -> list[str]:
    mistakes = _folder_mistakes("data.test", data, data.classes)
    if (shares := data.splits.validation + data.splits.test) > 1:
        mistakes.append(f"data.test.splits: validation and test are {shares:g} together, but must be at most 1.")
    return mistakes


def _folder_mistakes(key: str, data: FolderImages, classes: Sequence[ClassValue]) -> list[str]:
    names = [item.name for item in classes]
    values = [item.value for item in classes] + ([] if data.ignore is None else [data.ignore])
    spelt = [value.lower() if isinstance(value, str) else value for value in values]
    mistakes = [f"{key}.classes: two classes are named '{name}'; rename one." for name in _doubles(names)]
    mistakes += [
        f"{key}.classes: the mask value {value!r} stands there, or at {key}.ignore, twice; a pixel has one class."
        for value in _doubles(spelt)
    ]
    if len({type(value) for value in values}) > 1:
        mistakes.append(
            f"{key}.classes: some mask values are numbers and some are colours; write all of them, {key}.ignore too, "
            f"as numbers (index, grey or palette masks) or all as colours (RGB masks)."
        )
    listed = data.splits.list
    if listed is not None and (PurePath(listed.file).is_absolute() or ".." in PurePath(listed.file).parts):
        mistakes.append(
            f"{key}.splits.list.file: '{listed.file}' must lie in the folder {data.path}, and be written relative to "
            f"it: DVC watches that folder, and prepares again when the list changes."
        )
    return mistakes


def _doubles(values: Sequence[str | int] | None) -> list[str | int]:
    found = list(values or ())
    return [value for index, value in enumerate(found) if value in found[:index]]
