"""The images that the weights of a run were trained on, as `model.safetensors` records them.

No run may be validated or tested on images that its initial weights were trained on.
"""

from __future__ import annotations

from collections.abc import Collection

from safetensors import safe_open

from pipeline.artifacts.prepared_data import SPLITS, PreparedData
from pipeline.artifacts.project import Project
from pipeline.data.subsets import select_training_subset
from pipeline.errors import PipelineError
from pipeline.params import Cell
from pipeline.wording import join_words, pluralize

METADATA_KEY = "trained_on"  # safetensors writes several keys in random order, but equal runs must have equal bytes
HASH_DIGITS = 16  # of the SHA-256 of an image and its mask; 64 bits tell millions of images apart


def collect_training_images(cell: Cell, prepared: PreparedData) -> frozenset[str]:
    """Collect the hashes of all images that a run and its initial weights are trained on.

    Args:
        cell: Cell of the grid.
        prepared: The prepared data, with the splits of the cell's fold.

    Raises:
        PipelineError: The initial weights were trained on validation or test images of the run.
    """
    samples = prepared.samples
    hashes = samples["sha256"].str[:HASH_DIGITS]
    known = _read_training_images(cell)
    # Blank slices and tiles are identical to others, which does not make them known.
    is_known = hashes.isin(known) & ~hashes.duplicated(keep=False)
    found = {split: samples["id"][is_known & (samples["split"] == split)].tolist() for split in SPLITS[1:]}
    if any(found.values()):
        counts = [pluralize(len(ids), f"{split} image") for split, ids in found.items() if ids]
        folds = (
            " In a cross-validation, weights of a run fit only the seeds with the same fold; that of "
            f"{cell.name} is {cell.fold}."
        )
        raise PipelineError(
            f"model.pretrained: {cell.model.pretrained} was trained on {join_words(counts)} of {cell.name}, such as "
            f"{next(ids[0] for ids in found.values() if ids)}, whose scores would be too high. Choose weights that "
            f"were trained on other images, or write pretrained: false.{'' if cell.fold is None else folds}"
        )
    training = hashes[samples["split"] == "train"]
    return known.union(training.iloc[select_training_subset(len(training), cell.max_train_images)])


def format_metadata(training_images: Collection[str]) -> dict[str, str]:
    """Format the hashes of training images as the metadata of a safetensors file."""
    return {METADATA_KEY: " ".join(sorted(training_images))}


def _read_training_images(cell: Cell) -> frozenset[str]:
    """Read the hashes of the images that the initial weights of a run were trained on; empty if it is unknown."""
    name = cell.model.pretrained
    if not isinstance(name, str) or not name.endswith(".safetensors"):
        return frozenset()
    with safe_open(Project().weights.locate(name), framework="pt") as file:
        return frozenset(((file.metadata() or {}).get(METADATA_KEY) or "").split())
