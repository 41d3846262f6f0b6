"""Find masks that may be wrong: networks contradict them confidently, and all runs agree.

The score of an image follows confident learning (Northcutt, Jiang and Chuang 2021, JAIR 70), applied to pixels as in
Lad and Mueller (2023, arXiv 2307.05080). A pixel whose mask has class y is contradicted if the network predicts another
class c with a probability of at least t_c, the mean probability of c over all pixels whose mask has class c. Thresholds
are thus lower for classes and networks that are less certain. The score is

    number of contradicted pixels / number of pixels of the object

where the object is everything except the pixels on whose background class mask and prediction agree. On a hard image,
predictions are less certain, and differ between seeds. Therefore, scores are averaged over seeds, and a mask is
suspicious only if the score of every run is high.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

MIN_OBJECT = (
    0.02  # fraction of the evaluated pixels; a smaller object counts as this large, because few pixels are noise
)
# Lowest score of a suspicious mask in every run. With 5% wrong masks, most masks above it are wrong, see
# benchmarks/label_errors.py.
MIN_SUSPICIOUS = 0.25

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class WrongPixels:
    """The M pixels of N images where the prediction differs from the mask, and what the thresholds need.

    The thresholds are known only after all images. In bins of the confidence, counts would not be exact: a network that
    has learned little predicts almost the same confidence everywhere, which is then close to its threshold.
    """

    image: npt.NDArray[np.int32]  # M, index of the image
    predicted: npt.NDArray[np.uint8]  # M, predicted class
    confidence: npt.NDArray[np.float32]  # M, probability of the predicted class
    mask_probs: Floats  # C, predicted probability of the mask's class, summed over the pixels of each of C classes


def compute_thresholds(mask_probs: Floats, confusion: Counts) -> Floats:
    """Compute the mean probability of each class over the pixels of its masks; 1 for a class without pixels.

    Args:
        mask_probs: as in `WrongPixels`.
        confusion: as in `score_masks`.
    """
    pixels = confusion.sum(axis=(0, 2))
    thresholds = np.ones(len(pixels))
    np.divide(mask_probs, pixels, out=thresholds, where=pixels > 0)
    return thresholds


def count_contradicted(pixels: WrongPixels, thresholds: Floats, num_images: int) -> Counts:
    """Count the wrong pixels of each image whose confidence reaches the threshold of the predicted class.

    Args:
        pixels: wrong pixels of all images.
        thresholds: one per class, 0 to 1.
        num_images: number of images N.

    Returns:
        N numbers of pixels.
    """
    is_contradicted = pixels.confidence >= thresholds.astype(np.float32)[pixels.predicted]
    return np.bincount(pixels.image[is_contradicted], minlength=num_images)


def score_masks(contradicted: Counts, confusion: Counts, foreground: npt.NDArray[np.bool_]) -> Floats:
    """Compute the fraction of each image's object whose mask a network contradicts.

    Args:
        contradicted: N numbers of pixels, as from `count_contradicted`.
        confusion: N x C x C, evaluated pixels by class in the mask (rows) and prediction (columns).
        foreground: C, whether the class is foreground. Without foreground classes, the whole image is the object.

    Returns:
        N scores, 0 to 1; NaN for images without evaluated pixels.
    """
    pixels = confusion.sum(axis=(1, 2))
    agreed = np.diagonal(confusion, axis1=1, axis2=2)[:, ~foreground].sum(axis=1) if foreground.any() else 0
    size = np.maximum(pixels - agreed, MIN_OBJECT * pixels)
    scores = np.full(len(pixels), np.nan)
    np.divide(contradicted, size, out=scores, where=pixels > 0)
    return scores


def rank_masks(runs: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Rank the masks of images by their mean score over runs, most suspicious first.

    The result does not depend on the order of the runs. Images without a score in one of the runs are left out.

    Args:
        runs: one table per run, with one row per image and the columns `id`, `split`, `score` and `loss`.

    Returns:
        One row per image: `id`, `split`, `score` (mean over the runs), `lowest` and `highest` score, and `loss` (mean).
    """
    rows = pd.concat(runs).dropna(subset=["score"])
    # Sorted, because the last bits of a sum depend on the order of its terms.
    groups = rows.sort_values(["split", "id", "score", "loss"]).groupby(["id", "split"], sort=True)
    table = groups.agg(
        score=("score", "mean"),
        lowest=("score", "min"),
        highest=("score", "max"),
        loss=("loss", "mean"),
        runs=("score", "size"),
    ).reset_index()
    table = table[table["runs"] == len(runs)].drop(columns="runs")
    return sort_masks(table)


def sort_masks(table: pd.DataFrame) -> pd.DataFrame:
    """Sort a table from `rank_masks`, most suspicious first."""
    return table.sort_values(["score", "split", "id"], ascending=[False, True, True], ignore_index=True)


def is_suspicious(ranked: pd.DataFrame) -> pd.Series[bool]:
    """Return which masks of a table from `rank_masks` every run contradicts."""
    return ranked["lowest"] >= MIN_SUSPICIOUS
