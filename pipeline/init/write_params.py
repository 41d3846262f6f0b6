"""Write a `params.yaml` for a folder by replacing the `data` section of the existing file.

Comments on classes are above the list, because DVC does not keep comments inside lists
(`pipeline.params.yaml_document`).
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml.error import YAMLError

from pipeline.atomic_io import write_text
from pipeline.errors import PipelineError
from pipeline.init.inspect_folder import inspect_folder
from pipeline.init.rare_classes import TRAIN_COLUMN, describe_loss, propose_loss
from pipeline.init.suggestion import (
    BATCH_SIZES,
    MANY_STEPS,
    MIN_STEPS,
    SIZE_RULE,
    Suggestion,
    choose_batch,
    choose_epochs,
    steps_per_epoch,
)
from pipeline.params import Params
from pipeline.params.data.original_pixel import find_original_pixel
from pipeline.params.file import PARAMS_FILE, check_params, parse_yaml, read_sections
from pipeline.params.model import SmpModel, is_packaged
from pipeline.params.yaml_document import format_like_dvc
from pipeline.prepare.size_effects import Column, format_size_table
from pipeline.wording import escape_unprintable, format_duration, join_names, pluralize

BACKUPS = "params.before{}.yaml"  # previous files: the oldest without a number, then 2, 3, ...
PRETRAINED = "they are pretrained on three channels"
FEW_IMAGES = "they train on a part of the images only (data.max_train_images)"
Removed = dict[str, list[str]]  # variants by the reason why they were removed from the grid
_MAX_NAMES = 12  # classes in the summary
# A list on one line or on several; group 2 or 3 is the comment after the key.
_VARIANTS = re.compile(r"^(  variant:)(?: *\[[^]]*\](.*)|(.*)(?:\n +- .*)+)", re.MULTILINE)

_COLUMN = 26  # column of comments in the `data` section, unless the line is longer
MAX_FOLDED = 300  # training images; with more, the intervals of a single validation split are narrow enough
_COMMENTS = {
    "source": "docs/reference/parameters.md lists the keys of each source",
    "path": "folder of the data set, or an archive of it",
    "images": "pattern of the images below the folder; * matches the same text in both patterns",
    "masks": "pattern of the masks; {class} or {object}: one file per class or object",
    "resize": "stretch: stretched to the size | letterbox: keeps the aspect, centered and padded",
    "channels": "empty: RGB, or one if all images are 16-bit gray | 1: gray | the number of channels of TIFFs",
    "pixel_size": "size of a pixel of the original images, or [height, width]; empty: distances are in px",
    "pixel_unit": "unit of pixel_size, such as µm, mm or m",
    "slices": "which slices of the volumes are images; docs/how-to/volumes.md",
    "axis": "axis across the slices; z: axial slices of NIfTI and DICOM, slices of TIFF and OME-Zarr",
    "step": "every how many slices one is used",
    "window": "intensities that become black and white; empty: used as they are",
    "scenes": "how GeoTIFFs are read; docs/how-to/remote-sensing.md",
    "bands": "bands in the order of the channels, by number from 1 or by name",
    "tile": "px, side of the tiles that are images; empty: every file is one image",
    "block": "at most so many tiles along each side of a block, which stays in one split",
    "gap": "px that are left out between blocks",
    "attribute": "attribute of the polygons that has the category; empty: all polygons are one category",
    "area": "polygons of the annotated area; empty: everything was annotated",
    "annotations": "relative to the folder; docs/how-to/layouts.md describes the formats",
    "classes": "choose names and colors; foreground: the objects of interest",
    "ignore_value": "pixels that training and scores ignore; empty, or [] for categories: none",
    "crowd": "annotations with iscrowd: 1; ignore: their pixels are ignored | object: drawn like all others",
    "mask_threshold": "pixels at or above this value belong to the class with the higher value",
    "instances": "masks number objects; width of the border between them, px",
    "on_invalid": "error: report all invalid files | skip: leave out and list them",
    "showcase_ids": "ids of images to show first, in no split; empty: a typical training image is chosen",
    "seed": "seed of the splits, not of the runs",
    "max_train_images": "number of training images per run; empty: all",
    "patch_size": "px, side of the training patches of native images",
    "patches_per_epoch": "empty: as many as cover the training images once",
    "stratify": "every class in every split, if there are enough images",
    "split_lists": "lists of the images in each split; images in no list are left out",
    "group_regex": "the part in ( ) is the group, which is kept in one split",
    "split_file": "empty: splits.csv, if it exists | another table and its columns",
}


def init(folder: Path) -> str:
    """Write `params.yaml` for a folder, and keep the previous file as a backup.

    Returns:
        Description of the folder, the new file and the next steps.

    Raises:
        PipelineError: There is no `params.yaml` to start from, or nothing can be suggested for the folder.
    """
    sections = read_sections(PARAMS_FILE)
    before = PARAMS_FILE.read_text(encoding="utf-8")
    suggestion = inspect_folder(folder)
    where = f"{PARAMS_FILE} for {folder}"
    usual = _get_usual_epochs(sections)
    text, params, removed = _fill_in(before, usual, suggestion, where)
    kept = f"is now {_back_up(before)}" if text != before else "had the same content"
    write_text(PARAMS_FILE, text)
    classes = [item["name"] for item in suggestion.section.get("classes", ())]
    of_classes = f", {len(classes)} classes: {join_names(classes, _MAX_NAMES)}" if classes else ""
    lines = [
        f"{folder}: {suggestion.found}{of_classes}.",
        f"{PARAMS_FILE} now describes it; read the comments in the data section, and name the classes.",
    ]
    lines += [f"Removed from the grid, because {reason}: {', '.join(names)}." for reason, names in removed.items()]
    if suggestion.training:
        epochs, batch = params.train.epochs, params.train.batch_size
        steps = steps_per_epoch(suggestion.count_samples(params.train), batch)
        shown = pluralize(batch, *(("patch", "patches") if suggestion.patch else ("image",)))
        lines.append(f"Training takes {pluralize(epochs, 'epoch')} of {pluralize(steps, 'step')} with {shown} each.")
    lines += _describe_sizes(params, suggestion)
    notices = (
        *suggestion.notices,
        *_describe_tolerance(params),
        *describe_loss(params.train, suggestion.rare),
        *_describe_short(params, suggestion),
    )
    lines += [f"Notice: {escape_unprintable(notice)}" for notice in notices]
    lines += [f"The previous {PARAMS_FILE} {kept}.", "Next:"]
    return "\n".join([*lines, f"  pipeline data check {shlex.quote(str(folder))}", "  make report"])


def _back_up(text: str) -> Path:
    """Write a backup under the first free name, unless one with the same text exists. Backups are never replaced."""
    names = (BACKUPS.format(f".{number}" if number > 1 else "") for number in itertools.count(1))
    path = next(path for path in map(Path, names) if not path.exists() or _has_text(path, text))
    write_text(path, text)
    return path


def _has_text(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8", errors="replace") == text


def _fill_in(before: str, usual_epochs: int, suggestion: Suggestion, where: str) -> tuple[str, Params, Removed]:
    """Insert a suggestion into the text of a `params.yaml`.

    Returns:
        The new text, its parameters, and the variants that were removed from the grid.
    """
    text = replace_section(before, format_section(suggestion))
    per_epoch, batch = suggestion.training, choose_batch(suggestion.training, usual_epochs)
    text = re.sub(r"(?m)^  (patch_size|patches_per_epoch):.*\n(  +- .*\n)*", "", text)
    if suggestion.patch:
        batch = BATCH_SIZES[0]  # a patch has more pixels than most resized images
        keys = {"patch_size": suggestion.patch}
        per_epoch = suggestion.count_patches(suggestion.training, (suggestion.patch, suggestion.patch))
        if usual_epochs * steps_per_epoch(per_epoch, batch) > MANY_STEPS:
            keys["patches_per_epoch"] = per_epoch = MANY_STEPS * batch // usual_epochs
        added = "".join(f"{f'  {key}: {value}':{TRAIN_COLUMN}}# {_COMMENTS[key]}\n" for key, value in keys.items())
        text = re.sub(r"(?m)^  batch_size: .*\n", lambda line: line[0] + added, text, count=1)
    text = re.sub(r"(?m)^(  batch_size: )\d+", rf"\g<1>{batch}", text, count=1)
    epochs = choose_epochs(per_epoch, batch, usual_epochs)
    text = re.sub(r"(?m)^(  epochs: +)\d+", rf"\g<1>{epochs}", text, count=1)
    text = propose_loss(text, suggestion.rare)
    if not suggestion.patch and (names := _find_patched(text)):
        raise PipelineError(
            f"{where}: whole images of {suggestion.section['image_size']} px are proposed, but these variants have a "
            f"train.patch_size: {', '.join(names)}. Remove it, then run the command again."
        )
    params = _validate(text, where)
    pretrained = _find_pretrained(params) if suggestion.channels != 3 else []
    # A variant with few images shows memorization, in the bundled grid; on other images, it is a question of its own.
    few = [name for name in params.grid.variant if name not in pretrained and _has_few_images(params, name)]
    if not (fit := [name for name in params.grid.variant if name not in (*pretrained, *few)]):
        few, fit = [], few
    removed = {reason: names for reason, names in ((PRETRAINED, pretrained), (FEW_IMAGES, few)) if names}
    if removed and fit:
        lines = "".join(f"\n  - {format_scalar(name)}" for name in fit)
        text = _VARIANTS.sub(lambda found: f"{found[1]}{found[2] or found[3] or ''}{lines}", text, count=1)
        params = _validate(text, where)
    if pretrained and (left := _find_pretrained(params)):
        raise PipelineError(
            f"{where}: the images have {pluralize(suggestion.channels, 'channel')}, but all variants in grid.variant "
            f"are pretrained on three: {', '.join(left)}. Add another one first, such as unet."
        )
    return text, params, removed


def _has_few_images(params: Params, variant: str) -> bool:
    data = params.variants[variant].data
    return data is not None and data.max_train_images is not None


def _find_patched(text: str) -> list[str]:
    """Find the variants of a `params.yaml` that set a patch size."""
    variants = parse_yaml(text).get("variants")
    if not isinstance(variants, dict):
        return []
    trains = {name: one.get("train") for name, one in variants.items() if isinstance(one, dict)}
    return [str(name) for name, train in trains.items() if isinstance(train, dict) and train.get("patch_size")]


def _get_usual_epochs(sections: dict[str, Any]) -> int:
    """Look up the number of epochs from before the first `init`, which may have increased it for other data."""
    with contextlib.suppress(PipelineError):
        sections = read_sections(Path(BACKUPS.format("")))
    try:
        return max(1, int(sections["train"]["epochs"]))
    except (KeyError, TypeError, ValueError):
        return 1  # the validation of the new text reports it


def _describe_tolerance(params: Params) -> list[str]:
    """Describe the tolerance of the normalized surface Dice, whose unit is that of the pixel size."""
    pixel, tolerance = find_original_pixel(params.data), params.evaluation.surface_tolerance
    if pixel is None:
        return []
    return [
        f"evaluation.surface_tolerance: {tolerance:g} is in the unit of data.pixel_size, so it is {tolerance:g} "
        f"{pixel.unit}, or {tolerance / max(pixel.height, pixel.width):.2g} px of the original images. Choose a "
        f"distance that does not matter in your images."
    ]


def _describe_short(params: Params, suggestion: Suggestion) -> list[str]:
    """Describe the variants that train for fewer than `MIN_STEPS` steps."""
    short: dict[tuple[int, int, int], dict[str, None]] = {}  # variants by (epochs, steps, required epochs)
    for cell in params.cells():
        epochs, steps = cell.train.epochs, suggestion.count_steps(cell)
        if suggestion.training and steps < MIN_STEPS:
            short.setdefault((epochs, steps, math.ceil(MIN_STEPS * epochs / steps)), {})[cell.variant] = None
    return [
        f"{', '.join(names)}: {epochs} epochs are only {steps} steps, too few for a network to learn much; write "
        f"train.epochs: {enough} or more."
        for (epochs, steps, enough), names in short.items()
    ]


def _describe_sizes(params: Params, suggestion: Suggestion) -> list[str]:
    """Describe how much of the masks each size preserves, and how long the grid takes with it on this machine.

    For patches, the memory of the slowest variant is also shown, because it does not depend on the size of the images.
    """
    ceilings = suggestion.ceilings
    if ceilings is None or not ceilings.sizes:
        return []
    from pipeline.init.grid_time import measure_grid_time
    from pipeline.sweep.training_memory import measure_process
    from pipeline.variants.data_shape import PET_CLASSES, DataShape

    classes = len(suggestion.section.get("classes", ())) or PET_CLASSES
    time = measure_grid_time(params, suggestion, classes)
    patch = params.train.patch
    columns: list[Column] = []
    cost = "The grid's duration is unknown, because none of its networks could be run on a blank image."
    if time is not None:

        def format_grid(size: tuple[int, int], is_native: bool) -> str:
            # The number of steps is based on patches, not on whole images.
            return "" if patch and not is_native else f"about {format_duration(time.seconds(size[0]))}"

        columns.append(("s per step", lambda size, _: f"{time.step_seconds(size[0]):.2g}"))
        columns.append((f"grid of {time.runs}", format_grid))
        cost = time.summary()
    size = None if patch else suggestion.section["image_size"]
    lines = format_size_table(ceilings, size and (size, size), columns, patch)
    rule = [SIZE_RULE] if len(ceilings.sizes) > 1 else []
    if patch and time is not None:
        shape = DataShape(None, suggestion.channels, classes, suggestion.training, suggestion.training)
        slowest = time.find_slowest(max(patch))
        cell = next(cell for cell in params.cells() if cell.variant == slowest)
        with contextlib.suppress(PipelineError):
            cost += f" {slowest} needs about {measure_process(cell, shape) / 1e9:.1f} GB of memory."
    return [*lines, *rule, cost]


def _find_pretrained(params: Params) -> list[str]:
    """Find the grid's variants whose weights come from a pip package and cannot be adapted to other channels."""
    models = {cell.variant: cell.model for cell in params.cells()}
    return [
        name
        for name, model in models.items()
        if isinstance(model, SmpModel) and model.pretrained is True and is_packaged(model.encoder)
    ]


def _validate(text: str, where: str) -> Params:
    return check_params(parse_yaml(text), where)


def format_section(suggestion: Suggestion) -> str:
    """Format the `data:` section, ending with a line break."""
    lines = ["data:"]
    for key, value in suggestion.section.items():
        comment = suggestion.remarks.get(key) or _COMMENTS.get(key, "")
        if key == "classes":
            lines += [_format_line("  classes:", _COMMENTS["classes"]), *_format_classes(suggestion)]
        elif isinstance(value, dict):
            lines.append(_format_line(f"  {key}:", comment))
            for inner, setting in value.items():
                lines.append(_format_line(f"    {inner}: {format_scalar(setting)}", _COMMENTS.get(inner, "")))
            if key == "splits" and suggestion.groups:
                what = "keeps images of a patient, film or slide in one split, if the names number them"
                lines.append(_format_line(f"    # group_regex: {format_scalar(suggestion.groups)}", what))
            if (
                key == "splits"
                and "stratify" in value
                and "split_lists" not in value
                and suggestion.training <= MAX_FOLDED
            ):
                what = "cross-validation, for few images: also write grid.seed: [0, 1, 2, 3, 4]"
                lines.append(_format_line("    # folds: 5", what))
        else:
            lines.append(_format_line(f"  {key}: {format_scalar(value)}", comment))
    return format_like_dvc("\n".join(lines) + "\n")


def replace_section(text: str, section: str) -> str:
    """Replace the `data` section in the text of a `params.yaml`."""
    block = re.compile(r"^data:.*\n(?:(?:[ \t].*|#.*)?\n)*?(?=^[A-Za-z_]|\Z)", re.MULTILINE)
    return block.sub(lambda _: f"{section}\n", text, count=1)


def format_scalar(value: Any) -> str:
    """Format a value on one line of YAML: plain if that reads back unchanged, else as JSON."""
    if isinstance(value, str) and re.fullmatch(r"[\w./ -]+", value):
        try:
            if parse_yaml(f"key: {value}") == {"key": value}:
                return value
        except (YAMLError, ValueError):  # an invalid date
            pass
    if isinstance(value, list):
        return f"[{', '.join(map(format_scalar, value))}]"
    text = json.dumps(value, ensure_ascii=False)
    return "".join(letter if letter.isprintable() else f"\\U{ord(letter):08x}" for letter in text)


def _format_classes(suggestion: Suggestion) -> Iterator[str]:
    classes = suggestion.section["classes"]
    for item, remark in zip(classes, suggestion.class_remarks, strict=False):
        if remark:
            yield f"    # {format_scalar(item['name'])}: {remark}"
    for item in classes:
        pairs = [f"{key}: {format_scalar(value)}" for key, value in item.items() if key != "is_boundary" or value]
        yield f"  - {{{', '.join(pairs)}}}"


def _format_line(text: str, comment: str) -> str:
    if not comment:
        return text
    return f"{text:{_COLUMN}}# {comment}" if len(text) < _COLUMN else f"{text}  # {comment}"
