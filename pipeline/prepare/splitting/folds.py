"""Assign images to the folds of a cross-validation by a list or by a hash, optionally stratified."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from pipeline.errors import PipelineError
from pipeline.prepare.image_mask_pair import SplitRow
from pipeline.prepare.splitting.units import Unit, get_unit
from pipeline.wording import join_names


def assign_folds(
    strata: Sequence[Sequence[str]],
    rows: Mapping[str, SplitRow],
    groups: Mapping[str, str],
    folds: int,
    seed: int,
    source: str,
) -> dict[str, int]:
    """Assign every image to a fold. Groups are not divided.

    If no row has a fold, the units (groups or single images) of each stratum are sorted by the SHA-256 of their names
    and cut into parts of equal size. Adding a unit thus moves at most one other unit across each border.

    Args:
        strata: Ids of the images, all except test images, in one or more strata.
        rows: Splits, groups and folds by image id. Images may be missing.
        groups: Groups by image id, for images that have one.
        folds: Number of folds.
        seed: Seed of the splits.
        source: Origin of the rows, for messages.

    Returns:
        Fold by image id, from 0 to `folds` - 1. Every fold has at least one image.

    Raises:
        PipelineError: There are fewer units than folds, an image is assigned to validation, or the folds in the rows
            are incomplete or invalid.
    """
    ids = [name for stratum in strata for name in stratum]
    if fixed := [name for name in ids if name in rows and rows[name].split in ("validation", "valtest")]:
        raise PipelineError(
            f"data.splits.folds: {source} assigns {len(fixed)} images to validation ({join_names(fixed)}), but with "
            f"folds every image is validated once. Assign them to trainval, or write folds: null."
        )
    units: dict[Unit, list[str]] = {}
    for name in ids:
        units.setdefault(get_unit(name, groups), []).append(name)
    if len(units) < folds:
        kind = "groups" if any(kind == "group" for kind, _ in units) else "images"
        raise PipelineError(
            f"data.splits.folds: {folds} folds require at least {folds} {kind}, but there are {len(units)} apart from "
            f"the test images. Lower the number of folds."
        )
    if any(name in rows and rows[name].fold for name in ids):
        return _read_folds(ids, rows, groups, folds, source)
    found: dict[str, int] = {}
    offset = 0  # so that small strata do not all begin with the same fold
    for stratum in strata:
        ordered = sorted({get_unit(name, groups) for name in stratum}, key=lambda unit: _hash(seed, unit))
        parts = max(len(ordered), folds)  # a stratum with fewer units than folds fills consecutive ones
        fold_of = {unit: (place * folds // parts + offset) % folds for place, unit in enumerate(ordered)}
        found |= {name: fold_of[get_unit(name, groups)] for name in stratum}
        offset += len(ordered)
    return found


def _read_folds(
    ids: Sequence[str], rows: Mapping[str, SplitRow], groups: Mapping[str, str], folds: int, source: str
) -> dict[str, int]:
    """Read the folds of all images from the rows."""
    found: dict[str, int] = {}
    first: dict[str, str] = {}  # first image of each group
    for name in ids:
        written = rows[name].fold if name in rows else ""
        if not written.isdecimal() or int(written) >= folds:
            raise PipelineError(
                f"{source}: the fold of '{name}' must be a whole number from 0 to {folds - 1}, because "
                f"data.splits.folds is {folds}, but is '{written}'. Write a fold for every image that is not a test "
                f"image, or for none."
            )
        found[name] = int(written)
        if name in groups and found[other := first.setdefault(groups[name], name)] != found[name]:
            raise PipelineError(
                f"{source}: the group '{groups[name]}' is in fold {found[other]} with '{other}' and in fold {written} "
                f"with '{name}'. Assign all its images to the same fold."
            )
    if missing := sorted(set(range(folds)) - set(found.values())):
        raise PipelineError(
            f"{source}: fold {join_names([str(fold) for fold in missing])} has no images, but data.splits.folds is "
            f"{folds}. Lower it to the number of folds in the list, which are numbered from 0."
        )
    return found


def _hash(seed: int, unit: Unit) -> bytes:
    return hashlib.sha256(f"{seed}/fold/{unit[0]}/{unit[1]}".encode()).digest()
