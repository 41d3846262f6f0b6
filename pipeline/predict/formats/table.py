"""Table of the formats of predicted masks. A new format needs a module and an entry."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.errors import PipelineError
from pipeline.predict.formats.coco import COCO
from pipeline.predict.formats.labelme import LABELME
from pipeline.predict.formats.mask_files import PNG, TIFF
from pipeline.predict.formats.mask_format import MaskFormat, MaskWriter, WriterSettings
from pipeline.wording import suggest_closest

FORMATS: dict[str, MaskFormat] = {one.name: one for one in (PNG, TIFF, COCO, LABELME)}


def parse_formats(values: Sequence[str]) -> list[str]:
    """Parse the values of `--format`, each one or several names separated by commas.

    Raises:
        PipelineError: A name is unknown or repeated.
    """
    names = [name.strip() for value in values for name in value.split(",")]
    for place, name in enumerate(names):
        if name not in FORMATS:
            known = f"choose from {', '.join(FORMATS)}."
            raise PipelineError(f"--format: unknown format '{name}'; {suggest_closest(name, FORMATS, known)}")
        if name in names[:place]:
            raise PipelineError(f"--format: '{name}' is repeated; remove one.")
    return names


def create_writers(names: Sequence[str], settings: WriterSettings) -> dict[str, MaskWriter]:
    """Create the writers of formats, by name.

    Raises:
        PipelineError: The data does not fit a format.
    """
    return {name: FORMATS[name].create_writer(settings) for name in names}
