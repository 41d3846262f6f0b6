"""Recognize the layout of a folder, and suggest a `data` section for it."""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.errors import PipelineError
from pipeline.imaging import IGNORE
from pipeline.imaging.mask_decoding import MASK_ENDINGS
from pipeline.init.class_labels import make_class_names
from pipeline.init.inspect_images import suggest_section
from pipeline.init.mask_classes import suggest_classes
from pipeline.init.palettes import choose_category_colors
from pipeline.init.suggestion import SuggestedClasses, Suggestion, complete_suggestion, validate_section
from pipeline.params.data import Data, find_data_mistakes
from pipeline.params.data.image_data import Crowd
from pipeline.params.file import PARAMS_FILE, check_params, read_sections
from pipeline.prepare.sources.coco import match_images
from pipeline.prepare.sources.coco_notices import AnnotationStats
from pipeline.prepare.sources.coco_validation import read_coco
from pipeline.prepare.sources.folder import IMAGES, MASKS, ImageFiles, check_suffix
from pipeline.prepare.sources.oxford_pets import PARTS, TRIMAPS, collect_pets
from pipeline.wording import escape_unprintable, join_names

_COMMAND = "pipeline init"
_EXPECTED = f"""\
Expected one of
  {IMAGES}/ and {MASKS}/ with files of the same names: masks with one value or color per class
  {IMAGES}/ and a JSON file of COCO instance annotations
  {IMAGES}/ and {TRIMAPS}/, or the archives {" and ".join(part.archive for part in PARTS)}: Oxford-IIIT Pet"""

_MAX_OPENED = 5  # JSON files
_MAX_BYTES = 50_000_000


def find_section(folder: Path) -> tuple[Data, str, tuple[str, ...]]:
    """Return the `data` section of `params.yaml` if it describes a folder, or else what `pipeline init` would suggest.

    Returns:
        The section, its origin (`params.yaml`, or the command that would write it), and sentences about guesses.

    Raises:
        PipelineError: `params.yaml` describes this folder but is invalid, or no section can be suggested.
    """
    if (sections := _read_sections_of(folder)) is not None:
        return check_params(sections, str(PARAMS_FILE)).data, str(PARAMS_FILE), ()
    suggestion = inspect_folder(folder)
    data = validate_section(suggestion.section)
    if mistakes := find_data_mistakes(data):
        raise PipelineError("\n".join(mistakes))
    return data, "`pipeline init`", suggestion.notices


def _read_sections_of(folder: Path) -> dict[str, Any] | None:
    """Read the sections of `params.yaml`. Return None if the file is missing or describes another folder."""
    try:
        content = read_sections(PARAMS_FILE)
    except PipelineError:
        return None
    data = content.get("data")
    sections = [data, data.get("external_test")] if isinstance(data, dict) else []
    paths = [section.get("path") for section in sections if isinstance(section, dict)]
    is_same = any(isinstance(path, str) and os.path.realpath(path) == os.path.realpath(folder) for path in paths)
    return content if is_same else None


def inspect_folder(folder: Path) -> Suggestion:
    """Suggest a section for a folder.

    Raises:
        PipelineError: The folder does not exist or has an unknown layout, or its files cannot be used.
    """
    if not folder.is_dir():
        raise PipelineError(f"{_COMMAND}: the folder {folder} does not exist.")
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        raise PipelineError(
            f"{_COMMAND}: the folder's name, {escape_unprintable(str(folder))}, is not UTF-8. Rename the folder."
        ) from None
    if (folder / IMAGES).is_dir() and (folder / MASKS).is_dir():
        return complete_suggestion(_inspect_image_mask(folder))
    if (folder / TRIMAPS).is_dir() or any((folder / part.archive).exists() for part in PARTS):
        return complete_suggestion(_inspect_pets(folder))
    if (folder / IMAGES).is_dir() and (exports := _find_exports(folder)):
        if len(exports) > 1:
            names = join_names(file.relative_to(folder) for file in exports)
            raise PipelineError(
                f"{_COMMAND}: {folder} has several JSON files: {names}. Keep one of them, or write the section by "
                f"hand; see docs/how-to/folder-of-images.md."
            )
        return complete_suggestion(_inspect_coco(folder, exports[0]))
    there = sorted(f"{path.name}/" if path.is_dir() else path.name for path in folder.iterdir())
    hint = f"{known} " if (known := describe_layout(folder)) else ""
    raise PipelineError(f"{_COMMAND}: {folder} contains {join_names(there) or 'nothing'}. {hint}{_EXPECTED}")


def _inspect_image_mask(folder: Path) -> Suggestion:
    images, masks = ImageFiles(folder, IMAGES, _COMMAND), ImageFiles(folder, MASKS, _COMMAND, endings=MASK_ENDINGS)
    check_suffix(images.by_id.keys(), masks.by_id.keys(), folder, _COMMAND)
    files = sorted(images.by_id.values())
    classes = suggest_classes(folder, sorted(masks.by_id.values()))
    return suggest_section("image_mask_folder", folder, files, classes)


def _inspect_coco(folder: Path, file: Path) -> Suggestion:
    images = ImageFiles(folder, IMAGES, _COMMAND)
    coco = read_coco(file, _COMMAND)
    annotations = AnnotationStats(
        [of for name, of in match_images(coco, images).items() if name in images.by_id], coco.categories
    )
    crowd: Crowd = "object" if annotations.single_crowds else "ignore"
    categories = annotations.used or list(dict.fromkeys(coco.categories.values()))
    if not categories:
        raise PipelineError(
            f"{_COMMAND}: {file} lists no categories. Export the annotations again, with their categories."
        )
    ignored = annotations.only_crowds if crowd == "ignore" else []
    if len(ignored) >= len(categories):
        ignored = []
    categories = [name for name in categories if name not in ignored]
    if len(categories) >= IGNORE:
        raise PipelineError(
            f"{_COMMAND}: {file} has {len(categories)} categories, but at most {IGNORE - 1} are allowed."
        )
    names = make_class_names(["background", *categories])
    colors, color_notices = choose_category_colors(categories)
    classes = [
        {"name": name, "color": color, "foreground": category is not None, "category": category}
        for name, color, category in zip(names, colors, [None, *categories], strict=True)
    ]
    annotated = file.relative_to(folder).as_posix()
    suggested = SuggestedClasses(
        {"annotations": annotated, "classes": classes, "ignore_value": ignored, "crowd": crowd},
        ("pixels without annotation",),
        (*annotations.notices(crowd), *color_notices),
        {"crowd": f"{annotations.crowd_count}: {annotations.single_crowds}"} if crowd == "object" else {},
    )
    return suggest_section("coco", folder, sorted(images.by_id.values()), suggested)


def _inspect_pets(folder: Path) -> Suggestion:
    files = [pair.image for pair in collect_pets(folder).pairs.values()]
    remarks = {"splits": "fractions of the authors' trainval; their test split is kept"}
    suggestion = suggest_section("oxford_iiit_pet", folder, files, SuggestedClasses({}, remarks=remarks))
    section = {**suggestion.section, "resize": "stretch", "splits": {"validation": 0.15, "test": 0}}
    for key in ("pixel_size", "pixel_unit"):  # the photos have no common scale
        del section[key]
    return replace(suggestion, section=section, found=f"Oxford-IIIT Pet, {suggestion.found}", groups="", notices=())


def _find_exports(folder: Path) -> list[Path]:
    found = sorted([*folder.glob("*.json"), *folder.glob("annotations/*.json")])
    # COCO's own folder also has captions and keypoints.
    return [file for file in found if file.name.startswith("instances")] or found


def describe_layout(folder: Path) -> str:
    """Describe how to convert an unsupported layout. Return "" if the layout is unknown."""
    if (folder / "JPEGImages").is_dir() and (folder / "SegmentationClass").is_dir():
        return (
            f"It looks like Pascal VOC: rename JPEGImages to {IMAGES} and SegmentationClass to {MASKS}, and remove the "
            f"images that have no mask; 255 in these masks means unknown (ignore_value: 255)."
        )
    if any((folder / split / IMAGES).is_dir() for split in ("train", "training", "val", "test")):
        return (
            f"It has one folder per split: move the images to {IMAGES}/train, {IMAGES}/val and {IMAGES}/test, and the "
            f"masks to the same folders in {MASKS}/. Folders named like splits are used as splits."
        )
    if any(folder.glob(f"stage1_train/*/{MASKS}")) or any(folder.glob(f"*/{MASKS}/*")):
        return (
            f"It looks like the Data Science Bowl 2018, with one folder per image and one mask per object: for each "
            f"image, write one mask that numbers its objects (0 is background) to {MASKS}/, and put the image into "
            f"{IMAGES}/ with the same name."
        )
    if any(map(_is_labelme, itertools.islice(sorted(folder.rglob("*.json")), _MAX_OPENED))):
        return (
            "It looks like labelme, with one JSON file per image: convert it to COCO instance annotations (labelme "
            "provides the script labelme2coco.py), and put the resulting JSON file next to images/."
        )
    return ""


def _is_labelme(path: Path) -> bool:
    try:
        content = json.loads(path.read_bytes()) if path.stat().st_size < _MAX_BYTES else None
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and {"shapes", "imagePath"} <= content.keys()
