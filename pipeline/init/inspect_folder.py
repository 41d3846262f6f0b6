"""Recognize the layout of a folder, and suggest a `data` section for it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.errors import PipelineError
from pipeline.imaging import IGNORE
from pipeline.init.class_labels import make_class_names
from pipeline.init.hugging_face import inspect_hugging_face
from pipeline.init.inspect_images import suggest_section
from pipeline.init.layouts import image_mask
from pipeline.init.layouts.layout import Layout
from pipeline.init.layouts.table import LAYOUTS, recognize_layout
from pipeline.init.mask_classes import suggest_classes
from pipeline.init.palettes import choose_category_colors
from pipeline.init.part_classes import suggest_part_classes
from pipeline.init.scenes import (
    NO_SCENES,
    WITHOUT_RASTERIO,
    SuggestedScenes,
    VectorLayout,
    are_scenes,
    drop_nodata,
    find_vectors,
    is_rasterio_installed,
    suggest_scenes,
)
from pipeline.init.suggestion import SuggestedClasses, Suggestion, complete_suggestion, validate_section
from pipeline.init.volumes import suggest_slices
from pipeline.params.data import Data, find_data_mistakes
from pipeline.params.data.file_pattern import DEFAULT_PATTERNS, FilePattern
from pipeline.params.data.image_data import Crowd
from pipeline.params.file import PARAMS_FILE, check_params, read_sections
from pipeline.prepare.data_folder import open_data_folder
from pipeline.prepare.formats.annotation_format import AnnotationFormat, FormatSettings
from pipeline.prepare.formats.coco import COCO
from pipeline.prepare.formats.image_index import ImageIndex
from pipeline.prepare.formats.notices import AnnotationStats
from pipeline.prepare.formats.table import FORMATS
from pipeline.prepare.sources.folder import match_files
from pipeline.prepare.sources.image_files import IMAGES, ImageFiles
from pipeline.prepare.sources.oxford_pets import PARTS, TRIMAPS, collect_pets
from pipeline.prepare.vector_layer import UNDEFINED
from pipeline.scenes.geotiff import SCENE_ENDINGS
from pipeline.wording import escape_unprintable, join_names

_COMMAND = "pipeline init"
_EXPECTED = f"""\
Expected one of
  {IMAGES}/ and masks/, or other folders or names that tell images and masks apart, such as img_01.png and mask_01.png
  a published layout; docs/how-to/layouts.md lists them
  GeoTIFFs with polygons in GeoJSON files, GeoPackages or shapefiles
  images and annotations of {", ".join(one.title for one in FORMATS.values())}
  Parquet files with images and masks in columns, or a data set that was saved with Dataset.save_to_disk
  {IMAGES}/ and {TRIMAPS}/, or the archives {" and ".join(part.archive for part in PARTS)}: Oxford-IIIT Pet
For other names, write data.images and data.masks; see docs/how-to/folder-of-images.md#patterns"""


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


def inspect_folder(path: Path) -> Suggestion:
    """Suggest a section for a folder or an archive.

    Raises:
        PipelineError: The folder does not exist or has an unknown layout, the archive cannot be unpacked, or the files
            cannot be used.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise PipelineError(
            f"{_COMMAND}: the folder's name, {escape_unprintable(str(path))}, is not UTF-8. Rename the folder."
        ) from None
    suggestion = _inspect_unpacked(open_data_folder(path, _COMMAND))
    return replace(suggestion, section={**suggestion.section, "path": str(path)})


def _inspect_unpacked(folder: Path) -> Suggestion:
    if (folder / TRIMAPS).is_dir() or any((folder / part.archive).exists() for part in PARTS):
        return complete_suggestion(_inspect_pets(folder))
    if suggestion := inspect_hugging_face(folder):
        return complete_suggestion(suggestion)
    has_both = (folder / IMAGES).is_dir() and (folder / "masks").is_dir()
    if layout := recognize_layout(folder, (*LAYOUTS, *([image_mask.recognize] if has_both else []))):
        return complete_suggestion(_inspect_layout(folder, layout))
    if vectors := find_vectors(folder):
        return complete_suggestion(_inspect_vectors(folder, vectors))
    for annotation_format in FORMATS.values():
        if settings := annotation_format.find(folder):
            return complete_suggestion(_inspect_annotated(folder, annotation_format, settings))
    if layout := recognize_layout(folder, [image_mask.recognize]):
        return complete_suggestion(_inspect_layout(folder, layout))
    if has_both:
        return complete_suggestion(_inspect_layout(folder, Layout("", *DEFAULT_PATTERNS)))
    there = sorted(f"{path.name}/" if path.is_dir() else path.name for path in folder.iterdir())
    raise PipelineError(f"{_COMMAND}: {folder} contains {join_names(there) or 'nothing'}. {_EXPECTED}")


def _inspect_layout(folder: Path, layout: Layout) -> Suggestion:
    scenes = suggest_scenes(folder, layout) if is_rasterio_installed() else None
    sliced = None if scenes else suggest_slices(folder, layout)
    endings = SCENE_ENDINGS if scenes else None
    images, masks = match_files(folder, layout.images, layout.masks, "data", endings, are_volumes=sliced is not None)
    names = {file: images.names[name] for name, file in images.by_id.items() if name in masks.by_id}
    mask_files = sorted(masks.by_id.values())
    if sliced is not None:
        names, mask_files = sliced.images, sliced.masks
    if scenes is not None:
        names, mask_files = scenes.images, scenes.masks
    if layout.classes is not None:
        classes = layout.classes
    elif masks.parts:
        classes = suggest_part_classes(folder, masks)
    else:
        classes = suggest_classes(folder, mask_files)
    patterns: dict[str, Any] = {}
    if (layout.images, layout.masks) != DEFAULT_PATTERNS:
        patterns = {"images": layout.images, "masks": layout.masks}
    notices = (*layout.notices, *classes.notices)
    if scenes is None and sliced is None and are_scenes(folder, list(images.by_id.values())):
        notices = (*notices, NO_SCENES if is_rasterio_installed() else WITHOUT_RASTERIO)
    if sliced is not None:
        patterns["slices"], notices = sliced.section, (*sliced.notices, *notices)
    if scenes is not None:
        classes = drop_nodata(classes, scenes.nodata)
        patterns["scenes"], notices = scenes.section, (*scenes.notices, *layout.notices, *classes.notices)
    classes = replace(classes, section={**patterns, **classes.section}, notices=notices)
    cut = sliced or scenes
    window = cut.window if cut else None
    suggestion = suggest_section("image_mask_folder", folder, names, classes, layout.splits, window)
    if scenes is not None:
        suggestion = _set_channels(suggestion, scenes)
    title = layout.title or (f"{layout.images} with masks {layout.masks}" if "images" in patterns else "")
    title = f"{title}, " if title else ""
    return replace(suggestion, found=f"{title}{cut.found if cut else ''}{suggestion.found}")


def _inspect_vectors(folder: Path, found: VectorLayout) -> Suggestion:
    categories = [category for category in found.categories if category != UNDEFINED]
    names = make_class_names(["background", *categories])
    colors, color_notices = choose_category_colors(categories)
    classes = [
        {"name": name, "color": color, "foreground": category is not None, "category": category}
        for name, color, category in zip(names, colors[-len(names) :], [None, *categories], strict=True)
    ]
    section = {
        **({} if found.images == DEFAULT_PATTERNS[0] else {"images": found.images}),
        "annotations": found.annotations,
        "attribute": found.attribute,
        "area": found.area,
        "scenes": found.scenes.section,
        "classes": classes,
        "ignore_value": [UNDEFINED] if UNDEFINED in found.categories else [],
    }
    notices = [*found.notices, *found.scenes.notices, *color_notices]
    suggested = SuggestedClasses(section, ("pixels without a polygon",), tuple(notices))
    suggestion = suggest_section("geo_vectors", folder, found.scenes.images, suggested, window=found.scenes.window)
    suggestion = _set_channels(suggestion, found.scenes)
    return replace(suggestion, found=f"{found.scenes.found}polygons in {found.annotations}, {suggestion.found}")


def _set_channels(suggestion: Suggestion, scenes: SuggestedScenes) -> Suggestion:
    """Set the number of channels to that of the bands. The groups of tiles are their blocks."""
    section = {**suggestion.section, "channels": scenes.channels}
    remarks = {**suggestion.remarks, "channels": "number of bands"}
    notices = tuple(notice for notice in suggestion.notices if not notice.startswith("data.channels:"))
    groups = suggestion.groups if scenes.section["tile"] is None else ""
    return replace(
        suggestion, section=section, remarks=remarks, notices=notices, channels=scenes.channels, groups=groups
    )


def _inspect_annotated(folder: Path, annotation_format: AnnotationFormat, settings: FormatSettings) -> Suggestion:
    files = ImageFiles(folder, _COMMAND, FilePattern(settings.images))
    annotated = annotation_format.read(settings.annotations, ImageIndex(folder, files), _COMMAND)
    stats = AnnotationStats(
        [image for name, image in annotated.images.items() if name in files.by_id], annotated.categories
    )
    crowd: Crowd = "object" if stats.single_crowds else "ignore"
    categories = stats.used or list(dict.fromkeys(annotated.categories.values()))
    if not categories:
        raise PipelineError(
            f"{_COMMAND}: {folder / settings.annotations} lists no categories. Export the annotations again, with "
            f"their categories."
        )
    ignored = [name for name in annotation_format.ignored if name in categories]
    if crowd == "ignore":
        ignored += stats.only_crowds
    if len(ignored) >= len(categories):
        ignored = []
    categories = [name for name in categories if name not in ignored]
    if len(categories) >= IGNORE:
        raise PipelineError(
            f"{_COMMAND}: {folder / settings.annotations} has {len(categories)} categories, but at most {IGNORE - 1} "
            f"are allowed."
        )
    # Pixels without a category are a class, unless the format assigns a category to nearly all pixels.
    wanted = categories if annotation_format.create_reader and len(categories) > 1 else [None, *categories]
    names = make_class_names([name or "background" for name in wanted])
    colors, color_notices = choose_category_colors(categories)
    classes = [
        {"name": name, "color": color, "foreground": category is not None, "category": category}
        for name, color, category in zip(names, colors[-len(wanted) :], wanted, strict=True)
    ]
    images = {} if settings.images == DEFAULT_PATTERNS[0] else {"images": settings.images}
    section = {**images, "annotations": settings.annotations, "classes": classes, "ignore_value": ignored}
    remarks = {}
    if annotation_format is COCO:
        section["crowd"] = crowd
        remarks = {"crowd": f"{stats.crowd_count}: {stats.single_crowds}"} if crowd == "object" else {}
    suggested = SuggestedClasses(
        section,
        ("pixels without annotation",) if wanted[0] is None else (),
        (*annotated.notices, *stats.notices(crowd), *color_notices),
        remarks,
    )
    suggestion = suggest_section(annotation_format.source, folder, files.names_by_file, suggested)
    return replace(suggestion, found=f"{annotation_format.title}, {suggestion.found}")


def _inspect_pets(folder: Path) -> Suggestion:
    files = {pair.image: pair.name for pair in collect_pets(folder).pairs.values()}
    remarks = {"splits": "fractions of the authors' trainval; their test split is kept"}
    suggestion = suggest_section("oxford_iiit_pet", folder, files, SuggestedClasses({}, remarks=remarks))
    section = {**suggestion.section, "resize": "stretch", "splits": {"validation": 0.15, "test": 0}}
    for key in ("pixel_size", "pixel_unit"):  # the photos have no common scale
        del section[key]
    return replace(suggestion, section=section, found=f"Oxford-IIIT Pet, {suggestion.found}", groups="", notices=())
