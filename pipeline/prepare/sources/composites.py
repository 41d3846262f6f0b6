"""Source: bundled images of animals, pasted onto bundled backgrounds, in any number and size of samples."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.artifacts.prepared_data import SHOWCASE, SPLITS, DatasetStats, SegmentationClass
from pipeline.errors import PipelineError
from pipeline.params.data.composites import CompositesData
from pipeline.prepare.sample import Sample, SampleWriter
from pipeline.prepare.source import READ_ORDER, SourceData, SplitOrigin
from pipeline.prepare.sources import compositing
from pipeline.prepare.split_tables import tabulate_samples

# Colors of Okabe and Ito (2008), which readers with color vision deficiency can tell apart.
CLASSES = (
    SegmentationClass("animal", "#e69f00", foreground=True),
    SegmentationClass("background", "#0072b2", foreground=False),
    SegmentationClass("border", "#f0e442", foreground=False, is_boundary=True),
)

TITLE = "Cut-out animals over photographs"
CREDIT = (
    "The images are from Tux Paint (GPL 2 or later), the MATE backgrounds (GPL 2 or later), the Lomiri wallpapers "
    "(CC BY 4.0, CC BY-SA 4.0, CC0) and Plasma's wallpapers (LGPL 3), pasted together; data/sample/LICENSE.md credits "
    "each one."
)

LIST_FILE = "sources.csv"  # in the folder of the source: one row per image
FILES = {"animal": "animals/{}.webp", "background": "backgrounds/{}.jpg"}  # by kind; {} is the name of the image

# Fractions of the groups of a kind; the remaining groups are for training. Validation and test get eleven backgrounds
# each, because confidence intervals that resample groups need ten.
SPLIT_FRACTIONS = {"animal": {"validation": 0.2, "test": 0.2}, "background": {"validation": 0.25, "test": 0.25}}

SHOWCASE_ANIMAL, SHOWCASE_BACKGROUND = "dog", "aitzgorri"
SHOWCASE_HEIGHT, SHOWCASE_GROUND = 0.85, 0.95  # of the side: height of the dog, and distance of its feet from the top
# Only the lower part of the background is shown, so that the horizon is at the height of the dog's head.
SHOWCASE_CROP = 0.6  # size of the crop, as a fraction of the largest crop of this shape
SHOWCASE_LEFT = 0.2  # position of the crop in the background: 0 is left, 1 is right

_COMPOSITION, _ORDER, _LIGHTING = 0, 1, 2  # independent streams of random numbers


@dataclass(frozen=True, eq=False)
class SourceImage:
    """A decoded animal (mode RGBa) or background (mode RGB)."""

    name: str
    group: str
    image: Image.Image
    content: bytes  # of the file


class CompositeSource:
    """Composites of the images in `data.path`, split by animal and by background."""

    def __init__(self, data: CompositesData) -> None:
        self._data = data
        images = _read_images(Path(data.path))
        self._showcase = (
            _find_image(images, "animal", SHOWCASE_ANIMAL, data.path),
            _find_image(images, "background", SHOWCASE_BACKGROUND, data.path),
        )
        # Images of each group, by split and kind.
        self._groups: dict[str, dict[str, list[list[SourceImage]]]] = {split: {} for split in SPLITS}
        for (kind, members), shown in zip(images.items(), self._showcase, strict=True):
            names = sorted({image.group for image in members} - {shown.group})
            for split, chosen in _split_groups(names, kind, data).items():
                self._groups[split][kind] = [[p for p in members if p.group == name] for name in chosen]

    def read(self, write: SampleWriter, splits: Sequence[str] = READ_ORDER) -> SourceData:
        """Compose the samples. Each has its own random generator, so that additional samples do not change others."""
        keys = {split: f"data.samples.{split}" for split in SPLITS} | {SHOWCASE: "data.path"}
        remedy = "Increase {} or data.image_size."
        return SourceData(
            title=TITLE,
            credit=CREDIT,
            classes=CLASSES,
            tables=tabulate_samples(self._compose(splits), CLASSES, write),
            stats=DatasetStats(formats={}, rotated=0, transparent=0, compared=0, duplicates=0, first_duplicates=()),
            origins={split: SplitOrigin(key, remedy.format(key)) for split, key in keys.items()},
            read_samples=self._compose_again,
        )

    def _compose_again(self, names: Collection[str]) -> Iterator[Sample]:
        for split in SPLITS:
            for index in range(getattr(self._data.samples, split)):
                if _format_id(split, index) in names:
                    yield self._compose_sample(split, index)
        if (showcase := self._compose_showcase()).id in names:
            yield showcase

    def _compose(self, splits: Sequence[str]) -> Iterator[tuple[str, Sample]]:
        for split in splits:
            if split == SHOWCASE:
                yield split, self._compose_showcase()
            else:
                for index in range(getattr(self._data.samples, split)):
                    yield split, self._compose_sample(split, index)

    def _compose_sample(self, split: str, index: int) -> Sample:
        rng = self._create_rng(split, _COMPOSITION, index)
        animal, background = (self._pick(split, kind, index, rng) for kind in FILES)
        size, composition = self._data.size, self._data.composition
        scene = compositing.crop_background(background.image, size, rng, composition)
        # Both poses are of the same animal, because intervals that resample groups need one animal group per sample.
        poses = [composition]
        if rng.random() < composition.two_poses_prob:
            low, high = composition.scale
            poses = [composition.model_copy(update={"scale": (low, (low + high) / 2)})] * 2  # smaller, so that both fit
        layers = [compositing.pose_animal(animal.image, size, rng, pose) for pose in poses]
        # A separate generator, so that lighting does not change positions.
        light = self._create_rng(split, _LIGHTING, index)
        if composition.blur:
            scene = compositing.blur(scene, light.uniform(0, composition.blur) * min(size))
        image, mask = compositing.compose(scene, layers, composition.border)
        if composition.color_jitter:
            image = compositing.tint(
                image, light.uniform(1 - composition.color_jitter, 1 + composition.color_jitter, 3)
            )
        return _build_sample(_format_id(split, index), animal, background, image, mask)

    def _pick(self, split: str, kind: str, index: int, rng: np.random.Generator) -> SourceImage:
        """Pick an image. Groups take turns, in a new random order each round, so that all occur equally often."""
        groups = self._groups[split][kind]
        turn, place = divmod(index, len(groups))
        order = self._create_rng(split, _ORDER, turn, list(FILES).index(kind)).permutation(len(groups))
        members = groups[int(order[place])]
        return members[int(rng.integers(len(members)))]

    def _create_rng(self, split: str, purpose: int, number: int, kind: int = 0) -> np.random.Generator:
        return np.random.default_rng((self._data.seed, SPLITS.index(split), purpose, number, kind))

    def _compose_showcase(self) -> Sample:
        """Compose the showcase: the animal upright, large and unobstructed."""
        animal, background = self._showcase
        (height, width), source = self._data.size, background.image
        crop_width, crop_height = (SHOWCASE_CROP * side for side in compositing.fit_crop(source, (height, width)))
        left, top = SHOWCASE_LEFT * (source.width - crop_width), source.height - crop_height
        box = (left, top, left + crop_width, top + crop_height)
        scene = np.asarray(source.resize((width, height), Image.Resampling.LANCZOS, box=box), np.float32) / 255
        pose = compositing.resize_animal(animal.image, SHOWCASE_HEIGHT * min(height, width) / animal.image.height)
        place = (width - pose.width) // 2, round(SHOWCASE_GROUND * height) - pose.height
        image, mask = compositing.compose(
            scene.astype(np.float32), [compositing.place(pose, (height, width), *place)], self._data.composition.border
        )
        return _build_sample(f"{SHOWCASE}-{animal.name}", animal, background, image, mask)


def _format_id(split: str, index: int) -> str:
    return f"{split}-{index:05d}"


def _build_sample(
    name: str, animal: SourceImage, background: SourceImage, image: NDArray[np.uint8], mask: NDArray[np.uint8]
) -> Sample:
    return Sample(
        id=name,
        groups={"animal": animal.group, "background": background.group},
        image=image,
        mask=mask,
        height=background.image.height,
        width=background.image.width,
        sha256=hashlib.sha256(animal.content + background.content).hexdigest(),
    )


def _split_groups(names: list[str], kind: str, data: CompositesData) -> dict[str, list[str]]:
    """Assign the groups of one kind to splits in hash order, so that adding a group changes the split of few others."""
    if len(names) < len(SPLITS):
        raise PipelineError(
            f"data.path: {Path(data.path) / LIST_FILE} names {len(names)} groups of kind '{kind}' besides the "
            f"showcase's; at least {len(SPLITS)} are needed, one per split. Add images of other groups."
        )
    order = sorted(names, key=lambda name: hashlib.sha256(f"{data.seed}/{kind}/{name}".encode()).digest())
    counts = {split: max(1, round(share * len(order))) for split, share in SPLIT_FRACTIONS[kind].items()}
    divided, rest = {}, order
    for split, count in counts.items():
        divided[split], rest = rest[:count], rest[count:]
    return {SPLITS[0]: rest, **divided}


def _read_images(folder: Path) -> dict[str, list[SourceImage]]:
    """Read all images of `sources.csv`, by kind, sorted by name."""
    path = folder / LIST_FILE
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [(row["kind"], row["name"], row["group"]) for row in csv.DictReader(file)]
    except OSError as error:
        raise PipelineError(
            f"data.path: {path} cannot be read ({error.strerror}). Set data.path to the folder with {LIST_FILE}, or "
            f"restore it: git checkout -- data/sample"
        ) from None
    except (KeyError, UnicodeDecodeError, csv.Error) as error:
        raise PipelineError(
            f"{path} is not a CSV file in UTF-8 with the columns kind, name and group: {error!r}. Restore it."
        ) from None
    for number, row in enumerate(rows, start=2):
        if not all(row):
            raise PipelineError(f"{path}: row {number} has no kind, name or group. Complete it or remove it.")
        if set(row[2]) & set("=;"):
            raise PipelineError(f"{path}: group '{row[2]}' in row {number} must not contain = or ;. Rename it.")
    if unknown := sorted({kind for kind, _, _ in rows} - set(FILES)):
        raise PipelineError(f"{path}: kind is '{unknown[0]}', but must be one of {', '.join(FILES)}.")
    return {
        kind: [
            _read_image(folder / FILES[kind].format(name), kind, name, group)
            for name, group in sorted((name, group) for of, name, group in rows if of == kind)
        ]
        for kind in FILES
    }


def _read_image(path: Path, kind: str, name: str, group: str) -> SourceImage:
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content)) as file:
            # RGBa is premultiplied; Pillow converts only RGBA to it.
            image = file.convert("RGBA").convert("RGBa") if kind == "animal" else file.convert("RGB")
    except (OSError, Image.DecompressionBombError) as error:
        raise PipelineError(
            f"{path} cannot be read ({getattr(error, 'strerror', None) or 'not a complete image'}). {LIST_FILE} lists "
            f"it: restore the file or remove its row."
        ) from None
    return SourceImage(name, group, image, content)


def _find_image(images: dict[str, list[SourceImage]], kind: str, name: str, folder: str) -> SourceImage:
    for image in images[kind]:
        if image.name == name:
            return image
    raise PipelineError(
        f"{Path(folder) / LIST_FILE} has no {kind} '{name}', which the showcase needs. Restore its row."
    )
