"""Source: the Oxford-IIIT Pet data set (Parkhi et al. 2012, CC BY-SA 4.0) with its official splits."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts.prepared_data import SegmentationClass
from pipeline.errors import PipelineError
from pipeline.prepare.image_mask_pair import ImageMaskPair, PairCollection, SplitRow, ValueMaskReader, WrittenSplits
from pipeline.prepare.splitting.read_splits import TRAINVAL
from pipeline.wording import join_names

TEST_SPLIT = "test"
SPLIT_LISTS = {TRAINVAL: "annotations/trainval.txt", TEST_SPLIT: "annotations/test.txt"}  # file of each split
IMAGES, TRIMAPS = "images", "annotations/trimaps"
TRIMAP_VALUES = {"pet": 1, "background": 2, "border": 3}  # mask value of each class

# The classes of Keras' pets example.
CLASSES = (
    SegmentationClass("pet", "#e69f00", foreground=True),
    SegmentationClass("background", "#0072b2", foreground=False),
    SegmentationClass("border", "#f0e442", foreground=False, is_boundary=True),
)


@dataclass(frozen=True)
class Part:
    """An archive of the data set."""

    folder: str  # in the archive
    urls: tuple[str, ...]  # the authors' server first, then a mirror
    md5: str
    max_bytes: int  # limit when unpacking, more than twice the actual size
    max_files: int  # limit when unpacking, more than twice the actual number

    @property
    def archive(self) -> str:
        """File name of the archive."""
        return f"{self.folder}.tar.gz"


_SERVERS = ("https://www.robots.ox.ac.uk/~vgg/data/pets/data", "https://thor.robots.ox.ac.uk/datasets/pets")
PARTS = (
    Part(
        "images",
        tuple(f"{server}/images.tar.gz" for server in _SERVERS),
        md5="5c4f3ee8e5d25df40f4fd59a7f44e54c",
        max_bytes=2_000_000_000,
        max_files=20_000,
    ),
    Part(
        "annotations",
        tuple(f"{server}/annotations.tar.gz" for server in _SERVERS),
        md5="95a8c909bbe2e81eed6a22bccdf3f68f",
        max_bytes=500_000_000,
        max_files=60_000,
    ),
)

# Files that only some decoders can read: GIF, PNG or BMP files with a JPEG extension, or files with a corrupt end.
KNOWN_BROKEN = frozenset(
    {"beagle_116", "chihuahua_121", "Abyssinian_5", "Abyssinian_34"}
    | {f"Egyptian_Mau_{number}" for number in (14, 139, 145, 156, 167, 177, 186, 191)}
)


def collect_pets(folder: Path) -> PairCollection:
    """Collect the pairs of the unpacked data set, sorted by id.

    Raises:
        PipelineError: A part is missing or not unpacked, files are missing, or a list is invalid. The message contains
            the command that downloads them.
    """
    _check_parts(folder)
    other_files: list[tuple[str, str]] = []
    images = _list_files(folder, IMAGES, ".jpg", other_files)
    trimaps = _list_files(folder, TRIMAPS, ".png", other_files)
    splits = _read_splits(folder)
    for kind, files, ending in ((IMAGES, images, ".jpg"), (TRIMAPS, trimaps, ".png")):
        if missing := [f"{name}{ending}" for name in splits if name not in files]:
            raise PipelineError(
                f"{folder / kind}: {len(missing)} of the {len(splits)} files listed in {folder / 'annotations'} are "
                f"missing: {join_names(missing)}. {_describe_fix(folder, kind)}"
            )
    unlisted = f"is listed in neither {' nor '.join(SPLIT_LISTS.values())}"
    return PairCollection(
        folder=folder,
        title="Cats and dogs of the Oxford-IIIT Pet data set",
        credit="Photographs: Oxford-IIIT Pet (Parkhi, Vedaldi, Zisserman, Jawahar 2012), CC BY-SA 4.0.",
        classes=CLASSES,
        pairs={name: ImageMaskPair(name, images[name], trimaps[name]) for name in splits},
        masks=ValueMaskReader(tuple((TRIMAP_VALUES[one.name],) for one in CLASSES)),
        skipped=[
            *((name, unlisted) for name in images if name not in splits),
            *((file, "is a mask without an image") for name, file in trimaps.items() if name not in images),
            *other_files,
        ],
        splits=WrittenSplits(
            {name: SplitRow(split) for name, split in splits.items()},
            source=" and ".join(str(folder / file) for file in SPLIT_LISTS.values()),
        ),
        known_broken=KNOWN_BROKEN,
        is_published=True,
    )


def _list_files(folder: Path, kind: str, ending: str, skipped: list[tuple[str, str]]) -> dict[str, str]:
    """Return the files of a kind by id, sorted. Add other files in the same folder to `skipped`."""
    top = folder / kind
    if not top.is_dir():
        raise PipelineError(f"{top} is missing. {_describe_fix(folder, kind)}")
    files = {}
    for path in sorted(top.iterdir()):
        file = f"{kind}/{path.name}"
        if path.name.startswith("."):
            skipped.append((file, "hidden files, such as those macOS creates, are not read"))
        elif path.suffix != ending or not path.is_file():
            skipped.append((file, f"only files ending in {ending} are read"))
        else:
            files[path.stem] = file
    return files


def _check_parts(folder: Path) -> None:
    for name in (*(part.folder for part in PARTS), TRIMAPS):
        if (folder / name).is_symlink():
            # DVC does not follow links to folders, so it would not notice changed files.
            raise PipelineError(f"{folder / name} is a link to a folder; put the folder itself there.")
    lines = []
    for part in PARTS:
        if not (folder / part.folder).is_dir():
            unopened = f": {part.archive} has not been unpacked" if (folder / part.archive).exists() else ""
            lines.append(f"{folder / part.folder} is missing{unopened}.")
    if lines:
        remedy = f"Run `{_format_command(folder)}` to unpack existing archives and download the others."
        raise PipelineError("\n".join([*lines, remedy]))


def _read_splits(folder: Path) -> dict[str, str]:
    """Read the split of each listed image."""
    splits: dict[str, str] = {}
    for split, name in SPLIT_LISTS.items():
        path, fix, num_before = folder / name, _describe_fix(folder, name), len(splits)
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            raise PipelineError(f"{path} is missing. {fix}") from None
        except (OSError, UnicodeDecodeError) as error:
            raise PipelineError(f"{path} cannot be read ({error}). {fix}") from None
        for number, line in enumerate(lines, start=1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            if not re.fullmatch(r"\w+(\s+\d+){3}\s*", line, re.ASCII):
                raise PipelineError(
                    f"{path}, line {number}: '{line[:80]}' must be an image's name and three numbers: its class, "
                    f"species and breed. {fix}"
                )
            image = line.split()[0]
            if image in splits:
                raise PipelineError(
                    f"{path}, line {number}: '{image}' is also in {SPLIT_LISTS[splits[image]]}; remove one of the "
                    f"lines. {fix}"
                )
            splits[image] = split
        if len(splits) == num_before:
            raise PipelineError(f"{path} lists no images. {fix}")
    return dict(sorted(splits.items()))


def _describe_fix(folder: Path, inside: str) -> str:
    """Describe how to restore a part of the data set."""
    return f"Remove {folder / inside.split('/')[0]} and run `{_format_command(folder)}`."


def _format_command(folder: Path) -> str:
    return f"pipeline data download {shlex.quote(str(folder))}"
