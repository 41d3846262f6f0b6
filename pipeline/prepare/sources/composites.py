"""The bundled source: cut-out animals over photographs, composed anew for any number and size of samples."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.errors import PipelineError
from pipeline.params.data.composites import CompositesData
from pipeline.prepare.source import READ_ORDER, Sample, SampleWriter, SourceData, SplitOrigin
from pipeline.prepare.sources import compositing
from pipeline.prepare.split_tables import tabulate_samples
from pipeline.runs import SHOWCASE, SPLITS, SegmentationClass, Survey

# The colours of Okabe and Ito (2008) keep apart for colour-blind readers; orange and blue differ in lightness too.
CLASSES = (
    SegmentationClass("animal", "#e69f00", foreground=True),
    SegmentationClass("background", "#0072b2", foreground=False),
    SegmentationClass("border", "#f0e442", foreground=False, edge=True),
)

TITLE = "Cut-out animals over photographs"
CREDIT = (
    "The pictures are from Tux Paint (GPL 2 or later), the MATE backgrounds (GPL 2 or later), the Lomiri wallpapers "
    "(CC BY 4.0, CC BY-SA 4.0, CC0) and Plasma's wallpapers (LGPL 3), pasted together; data/sample/LICENSE.md credits "
    "each one."
)

LIST_FILE = "sources.csv"  # in the source's folder: a row a picture
FILES = {"animal": "animals/{}.webp", "background": "backgrounds/{}.jpg"}  # kind to file, by the picture's name
MODES = {"animal": "RGBa", "background": "RGB"}  # RGBa: premultiplied

# Of the groups of a kind; training has the rest. Of the backgrounds, which are fewer, validation and test get eleven
# each: an interval that resamples groups takes ten.
SPLIT_FRACTIONS = {"animal": {"validation": 0.2, "test": 0.2}, "background": {"validation": 0.25, "test": 0.25}}

SHOWCASE_ANIMAL, SHOWCASE_BACKGROUND = "dog", "aitzgorri"
SHOWCASE_HEIGHT, SHOWCASE_GROUND = 0.85, 0.93  # of the image's side: the dog's height, and how far down it stands
SHOWCASE_LEFT = 0.5  # where the square crop lies in the photograph, from its left end (0) to its right one (1)

_COMPOSITION, _ORDER, _LIGHTING = 0, 1, 2  # what a random generator is for; keeps their streams apart


@dataclass(frozen=True, eq=False)
class SourceImage:
    """A cut-out (mode RGBa) or a photograph (mode RGB), decoded."""

    name: str
    group: str
    image: Image.Image
    content: bytes  # of its file


class CompositeSource:
    """Composites of the pictures in `data.path`, split by animal and by background."""

    def __init__(self, data: CompositesData) -> None:
        self._data = data
        pictures = _read_images(Path(data.path))
        self._showcase = (
            _find_image(pictures, "animal", SHOWCASE_ANIMAL, data.path),
            _find_image(pictures, "background", SHOWCASE_BACKGROUND, data.path),
        )
        # A split's pictures of a kind, by group.
        self._groups: dict[str, dict[str, list[list[SourceImage]]]] = {split: {} for split in SPLITS}
        for (kind, of_kind), shown in zip(pictures.items(), self._showcase, strict=True):
            names = sorted({picture.group for picture in of_kind} - {shown.group})
            for split, chosen in _split_groups(names, kind, data).items():
                self._groups[split][kind] = [[p for p in of_kind if p.group == name] for name in chosen]

    def read(self, write: SampleWriter, splits: Sequence[str] = READ_ORDER) -> SourceData:
        """Compose the samples, each with its own random generator: more samples do not change the first ones."""
        return SourceData(
            title=TITLE,
            credit=CREDIT,
            classes=CLASSES,
            tables=tabulate_samples(self._compose(splits), CLASSES, write),
            stats=Survey(stored={}, turned=0, transparent=0, compared=0, duplicates=0, first_duplicates=()),
            origins={split: _describe_origin(split) for split in READ_ORDER},
        )

    def _compose(self, splits: Sequence[str]) -> Iterator[tuple[str, Sample]]:
        for split in splits:
            if split == SHOWCASE:
                yield split, self._shown()
            else:
                for index in range(getattr(self._data.samples, split)):
                    yield split, self._sample(split, index)

    def _sample(self, split: str, index: int) -> Sample:
        rng = self._rng(split, _COMPOSITION, index)
        animal, background = (self._pick(split, kind, index, rng) for kind in FILES)
        size, composition = self._data.image_size, self._data.composition
        scene = compositing.crop_background(background.image, size, rng, composition)
        # Two animals are the same cut-out in two poses: with a second one the sample would belong to two animal groups,
        # and intervals that resample groups need every sample in one.
        poses = [composition]
        if rng.random() < composition.twice:
            low, high = composition.scale
            poses = [composition.model_copy(update={"scale": (low, (low + high) / 2)})] * 2  # so that both have room
        layers = [compositing.pose_animal(animal.image, size, rng, pose) for pose in poses]
        # From a generator of its own: what is drawn for the light moves no animal.
        light = self._rng(split, _LIGHTING, index)
        if composition.blur:
            scene = compositing.blur(scene, light.uniform(0, composition.blur) * size)
        image, mask = compositing.compose(scene, layers, composition.border)
        if composition.tint:
            image = compositing.tint(image, light.uniform(1 - composition.tint, 1 + composition.tint, 3))
        return _build_sample(f"{split}-{index:05d}", animal, background, image, mask)

    def _pick(self, split: str, kind: str, index: int, rng: np.random.Generator) -> SourceImage:
        """The groups take turns, each round in another order: all are seen equally often."""
        groups = self._groups[split][kind]
        turn, place = divmod(index, len(groups))
        order = self._rng(split, _ORDER, turn, list(FILES).index(kind)).permutation(len(groups))
        members = groups[int(order[place])]
        return members[int(rng.integers(len(members)))]

    def _rng(self, split: str, purpose: int, number: int, kind: int = 0) -> np.random.Generator:
        return np.random.default_rng((self._data.seed, SPLITS.index(split), purpose, number, kind))

    def _shown(self) -> Sample:
        """The animal upright, large and in the open: the picture that every run is first judged by."""
        animal, background = self._showcase
        size, photograph = self._data.image_size, background.image
        side = min(photograph.size)
        left, top = SHOWCASE_LEFT * (photograph.width - side), photograph.height - side
        box = (left, top, left + side, top + side)
        scene = np.asarray(photograph.resize((size, size), Image.Resampling.LANCZOS, box=box), np.float32) / 255
        pose = compositing.resize_animal(animal.image, SHOWCASE_HEIGHT * size / animal.image.height)
        place = (size - pose.width) // 2, round(SHOWCASE_GROUND * size) - pose.height
        image, mask = compositing.compose(
            scene.astype(np.float32), [compositing.place(pose, size, *place)], self._data.composition.border
        )
        return _build_sample(f"{SHOWCASE}-{animal.name}", animal, background, image, mask)


def _describe_origin(split: str) -> SplitOrigin:
    key = f"data.samples.{split}" if split in SPLITS else "data.path"
    return SplitOrigin(key, f"Ask for more samples by {key}, or for larger ones by data.image_size.")


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
    """Groups of a kind into splits: ordered by a hash, so that a new group hardly moves the others."""
    if len(names) < len(SPLITS):
        raise PipelineError(
            f"data.path: {Path(data.path) / LIST_FILE} names {len(names)} groups of kind '{kind}' besides the "
            f"showcase's; {len(SPLITS)} splits that share none need at least {len(SPLITS)}. Add pictures of other "
            f"groups."
        )
    order = sorted(names, key=lambda name: hashlib.sha256(f"{data.seed}/{kind}/{name}".encode()).digest())
    counts = {split: max(1, round(share * len(order))) for split, share in SPLIT_FRACTIONS[kind].items()}
    divided, rest = {}, order
    for split, count in counts.items():
        divided[split], rest = rest[:count], rest[count:]
    return {SPLITS[0]: rest, **divided}


def _read_images(folder: Path) -> dict[str, list[SourceImage]]:
    """All pictures of `sources.csv`, by kind, in the order of their names."""
    path = folder / LIST_FILE
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [(row["kind"], row["name"], row["group"]) for row in csv.DictReader(file)]
    except OSError as error:
        raise PipelineError(
            f"data.path: {path} cannot be read ({error.strerror}). Set data.path to the folder that holds {LIST_FILE}, "
            f"or restore it: git checkout -- data/sample"
        ) from None
    except (KeyError, UnicodeDecodeError, csv.Error) as error:
        raise PipelineError(f"{path} is no table in UTF-8 with kind, name and group: {error!r}. Restore it.") from None
    for number, row in enumerate(rows, start=2):
        if not all(row):
            raise PipelineError(f"{path}: row {number} lacks its kind, name or group. Complete it or remove it.")
        if set(row[2]) & set("=;"):
            raise PipelineError(f"{path}: group '{row[2]}' in row {number} may not hold = or ;. Rename it.")
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
            # Pillow premultiplies RGBA only.
            image = file.convert("RGBA").convert("RGBa") if kind == "animal" else file.convert(MODES[kind])
    except (OSError, Image.DecompressionBombError) as error:
        raise PipelineError(
            f"{path} cannot be read ({getattr(error, 'strerror', None) or 'not a whole image'}). {LIST_FILE} names it: "
            f"restore the file or remove its row."
        ) from None
    return SourceImage(name, group, image, content)


def _find_image(pictures: dict[str, list[SourceImage]], kind: str, name: str, folder: str) -> SourceImage:
    for picture in pictures[kind]:
        if picture.name == name:
            return picture
    raise PipelineError(
        f"{Path(folder) / LIST_FILE} names no {kind} '{name}', which the showcase needs. Restore its row."
    )
