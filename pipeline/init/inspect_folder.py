"""Looks at a folder, and proposes how to read it: by the first source whose files lie in it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.errors import PipelineError
from pipeline.imaging.mask_decoding import MASK_ENDINGS
from pipeline.init.class_labels import class_names
from pipeline.init.inspect_images import Pictures, look_at
from pipeline.init.mask_classes import look_at_masks
from pipeline.init.palettes import choose_category_colors
from pipeline.init.suggestion import Proposal, complete
from pipeline.params.data.image_data import Crowd
from pipeline.prepare.sample_ids import listed, readable
from pipeline.prepare.sources.coco_notices import Annotations
from pipeline.prepare.sources.coco_reader import named
from pipeline.prepare.sources.coco_validation import read
from pipeline.prepare.sources.folder import IMAGES, MASKS, Files, check_suffix
from pipeline.prepare.sources.oxford_pets import PARTS, TRIMAPS, locate
from pipeline.prepare.splitting.read_splits import USUAL
from pipeline.runs import IGNORE

_KEY = "pipeline init"
_EXPECTED = f"""\
Expected is one of
  {IMAGES}/ and {MASKS}/ with files of the same names: masks that hold a value or a colour a class
  {IMAGES}/ and a JSON of COCO's instances, as annotation tools export it
  {IMAGES}/ and {TRIMAPS}/, or the archives {" and ".join(part.archive for part in PARTS)}: Oxford-IIIT Pet"""

_MAX_OPENED = 5  # JSON files
_MAX_BYTES = 50_000_000


def look(folder: Path) -> Proposal:
    """Propose a section for a folder.

    Raises:
        PipelineError: There is no such folder, it holds nothing that is known, or what it holds cannot be used.
    """
    if not folder.is_dir():
        raise PipelineError(f"{_KEY}: there is no folder {folder}.")
    if not _is_utf8(folder):
        raise PipelineError(f"{_KEY}: the folder's name, {readable(str(folder))}, is not UTF-8. Rename the folder.")
    if (folder / IMAGES).is_dir() and (folder / MASKS).is_dir():
        return complete(_folder(folder))
    if (folder / TRIMAPS).is_dir() or any((folder / part.archive).exists() for part in PARTS):
        return complete(_pets(folder))
    if (folder / IMAGES).is_dir() and (exports := _exports(folder)):
        if len(exports) > 1:
            names = listed([str(file.relative_to(folder)) for file in exports])
            raise PipelineError(
                f"{_KEY}: {folder} holds several JSON files: {names}. Leave one there, or write the section by hand; "
                f"see docs/your-own-data.md."
            )
        return complete(_coco(folder, exports[0]))
    there = sorted(f"{path.name}/" if path.is_dir() else path.name for path in folder.iterdir())
    hint = f"{known} " if (known := describe_layout(folder)) else ""
    raise PipelineError(f"{_KEY}: {folder} holds {listed(there) or 'nothing'}. {hint}{_EXPECTED}")


def _folder(folder: Path) -> Proposal:
    images, masks = Files(folder, IMAGES, _KEY), Files(folder, MASKS, _KEY, endings=MASK_ENDINGS)
    check_suffix(images.by_id.keys(), masks.by_id.keys(), folder, _KEY)
    seen = look_at(folder, _sorted(images))
    classes = look_at_masks(folder, _sorted(masks))
    remarks = {"ignore": classes.ignore_remark} if classes.ignore_remark else {}
    proposal = _proposal("folder", folder, seen, classes.section, len(images.by_id), remarks, classes.remarks)
    return replace(proposal, notices=(*classes.notices, *proposal.notices))


def _coco(folder: Path, file: Path) -> Proposal:
    images = Files(folder, IMAGES, _KEY)
    coco = read(file, _KEY)
    seen = look_at(folder, _sorted(images))
    annotations = Annotations([of for name, of in named(coco, images).items() if name in images.by_id], coco.categories)
    crowd: Crowd = "object" if annotations.single_crowds else "ignore"
    categories = annotations.used or list(dict.fromkeys(coco.categories.values()))
    if not categories:
        raise PipelineError(f"{_KEY}: {file} lists no categories. Export it with the categories of its annotations.")
    ignored = annotations.only_crowds if crowd == "ignore" else []
    if len(ignored) < len(categories):
        categories = [name for name in categories if name not in ignored]
    else:
        ignored = []
    if len(categories) >= IGNORE:
        raise PipelineError(f"{_KEY}: {file} has {len(categories)} categories, but there may be {IGNORE - 1}.")
    names = class_names(["background", *categories])
    colors, color_notices = choose_category_colors(categories)
    classes = [
        {"name": name, "colour": color, "foreground": category is not None, "category": category}
        for name, color, category in zip(names, colors, [None, *categories], strict=True)
    ]
    section = {
        "annotations": file.relative_to(folder).as_posix(),
        "classes": classes,
        "ignore": ignored,
        "crowd": crowd,
    }
    remarks = {"crowd": f"{annotations.crowd_count}: {annotations.single_crowds}"} if crowd == "object" else {}
    proposal = _proposal("coco", folder, seen, section, len(images.by_id), remarks, ("what no annotation covers",))
    return replace(proposal, notices=(*annotations.notices(crowd, "data"), *color_notices, *proposal.notices))


def _pets(folder: Path) -> Proposal:
    found = locate(folder)
    seen = look_at(folder, [image for image, _ in found.pairs.values()])
    remarks = {"splits": "of the authors' trainval; their test is kept"}
    proposal = _proposal("oxford_iiit_pet", folder, seen, {}, len(found.pairs), remarks, ())
    section = {**proposal.section, "resize": "squash", "splits": {"validation": 0.15, "test": 0}}
    return replace(proposal, section=section, found=f"Oxford-IIIT Pet, {proposal.found}", groups="", notices=())


def _proposal(
    source: str,
    folder: Path,
    seen: Pictures,
    classes: dict[str, Any],
    images: int,
    remarks: dict[str, str],
    class_remarks: Sequence[str],
) -> Proposal:
    has_list = (folder / USUAL.file).is_file()
    suggestion = None if has_list else seen.groups
    splits: dict[str, Any] = {"validation": 0.15, "test": 0.15, "list": None}
    if not has_list:
        splits["stratify"] = True
    section = {
        "source": source,
        "path": str(folder),
        "image_size": seen.image_size,
        "resize": seen.resize,
        "channels": seen.channels,
        **classes,
        "splits": splits,
        "on_fault": "stop",
        "showcase": None,
        "seed": 0,
        "train_images": None,
    }
    beside = {
        "image_size": f"px, a multiple of 32; the images are {seen.sizes}",
        "splits": f"{USUAL.file} says which image is where" if has_list else "shares of the images",
    }
    found = f"{images} images of {seen.sizes}"
    beside |= remarks
    notices = [*seen.notices, *([suggestion.sentence("data")] if suggestion else [])]
    return Proposal(
        section=section,
        found=found,
        images=images,
        training=int(images * (1 - splits["validation"] - splits["test"])),
        remarks=beside,
        class_remarks=tuple(class_remarks),
        groups=suggestion.regex if suggestion else "",
        channels=seen.prepared_channels,
        notices=tuple(notices),
    )


def _exports(folder: Path) -> list[Path]:
    found = sorted([*folder.glob("*.json"), *folder.glob("annotations/*.json")])
    # COCO's own folder holds captions and key points too.
    return [file for file in found if file.name.startswith("instances")] or found


def _is_utf8(folder: Path) -> bool:
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        return False
    return True


def _sorted(files: Files) -> list[str]:
    return sorted(files.by_id.values())


def describe_layout(folder: Path) -> str:
    """Name the layout of a folder that is not read, and how to convert it; empty if it is unknown."""
    if (folder / "JPEGImages").is_dir() and (folder / "SegmentationClass").is_dir():
        return (
            f"It looks like Pascal VOC: rename JPEGImages to {IMAGES} and SegmentationClass to {MASKS}, and remove the "
            f"images that have no mask; 255 in these masks is unknown (ignore: 255)."
        )
    if any((folder / split / IMAGES).is_dir() for split in ("train", "training", "val", "test")):
        return (
            f"It has a folder per split: move the images to {IMAGES}/train, {IMAGES}/val and {IMAGES}/test, and the "
            f"masks to {MASKS}/ likewise; folders named like splits are the splits."
        )
    if any(folder.glob(f"stage1_train/*/{MASKS}")) or any(folder.glob(f"*/{MASKS}/*")):
        return (
            f"It looks like the Data Science Bowl 2018, with a folder per image and a mask per object: write one mask "
            f"per image that numbers its objects (0 is background), into {MASKS}/, and the images into {IMAGES}/ with "
            f"the same names."
        )
    if any(map(_is_labelme, itertools.islice(sorted(folder.rglob("*.json")), _MAX_OPENED))):
        return (
            "It looks like labelme, with a JSON per image: convert it to COCO's instances (labelme has the script "
            "labelme2coco.py), and put that JSON beside images/."
        )
    return ""


def _is_labelme(path: Path) -> bool:
    try:
        content = json.loads(path.read_bytes()) if path.stat().st_size < _MAX_BYTES else None
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and {"shapes", "imagePath"} <= content.keys()
