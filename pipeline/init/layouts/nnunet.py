"""nnU-Net's raw data sets: imagesTr/, labelsTr/ and dataset.json.

https://github.com/MIC-DKFZ/nnUNet/blob/master/documentation/dataset_format.md
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import PipelineError
from pipeline.imaging.mask_decoding import MASK_ENDINGS
from pipeline.init.layouts.layout import Layout, name_classes
from pipeline.init.suggestion import SuggestedClasses
from pipeline.prepare.read_file import read_limited
from pipeline.volumes.nifti import NIFTI_ENDINGS

DATASET, FOLDS = "dataset.json", "splits_final.json"
_CHANNEL = "_0000"


def recognize(folder: Path, base: str) -> Layout | None:
    """Recognize the layout.

    Raises:
        PipelineError: `dataset.json` is invalid, or the images cannot be read, such as those in several files.
    """
    top = folder / base
    if not all((top / name).exists() for name in ("imagesTr", "labelsTr", DATASET)):
        return None
    content = _read_dataset(top / DATASET)
    ending, names = content.get("file_ending", ".nii.gz"), content.get("channel_names", content.get("modality", {}))
    where = f"pipeline init: {top / DATASET}"
    if ending not in (supported := (*MASK_ENDINGS, *NIFTI_ENDINGS)):
        raise PipelineError(
            f"{where}: file_ending is {ending}, but only {', '.join(supported)} are supported. Convert the images and "
            f"the masks to one of these formats."
        )
    if isinstance(names, Mapping) and len(names) > 1 and next((top / "imagesTr").glob("*_0001*"), None):
        raise PipelineError(
            f"{where}: an image has {len(names)} channels in separate files, which is not supported. Merge the "
            f"channels of each image into one file that ends in {_CHANNEL}{ending}: a TIFF, or a NIfTI file with the "
            f"channels along its fourth axis."
        )
    has_test = next((top / "labelsTs").glob(f"*{ending}"), None) is not None
    splits = "{Tr,Ts}" if has_test else "Tr"
    return Layout(
        "nnU-Net",
        f"{base}images{splits}/*{_CHANNEL}{ending}",
        f"{base}labels{splits}/*{ending}",
        _find_classes(content, where),
        {"split_lists": f"{base}{FOLDS}"} if (top / FOLDS).is_file() else {},
    )


def _read_dataset(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_limited(path))
    except (OSError, ValueError, RecursionError) as error:
        raise PipelineError(f"pipeline init: {path} cannot be read ({error}). Write it again.") from None
    if not isinstance(content, dict):
        raise PipelineError(f"pipeline init: {path} must be a JSON object. Write it again.")
    return content


def _find_classes(content: Mapping[str, Any], where: str) -> SuggestedClasses:
    """Return the classes: `labels` maps names to values or, in the first version of nnU-Net, values to names."""
    labels = content.get("labels")
    try:
        if not isinstance(labels, dict):
            raise TypeError("labels must be an object")
        is_first = all(str(name).isdecimal() for name in labels)
        values = {int(name): str(value) for name, value in labels.items()} if is_first else {}
        ignored = []
        for name, value in labels.items() if not is_first else ():
            if not isinstance(value, int):
                raise TypeError(f"the label {name} has the value {value}; regions are not supported")
            if name == "ignore":
                ignored.append(value)
            else:
                values[value] = name
        if len(values) < 2:
            raise TypeError("labels must have two entries or more")
    except TypeError as error:
        raise PipelineError(f"{where}: {error}. Convert the masks to one value per class.") from None
    return name_classes(dict(sorted(values.items())), background=0, ignored=ignored)
