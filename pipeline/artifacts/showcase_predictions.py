"""`showcase_predictions/`: predictions of the best run on the user's own images of `report.showcase`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pipeline.artifacts.folder import ArtifactFolder, Record

Mask = npt.NDArray[np.uint8]  # H x W, class indices or the ignore value


@dataclass(frozen=True)
class ShowcaseResult(Record):
    """An image of `report.showcase` with its scores."""

    file: str
    title: str
    mask: str | None
    iou: float | None  # of the foreground; None without a known mask
    mean_iou: float | None


@dataclass(frozen=True)
class ShowcaseList(Record):
    """`showcase.json`: the images in the order of `report.showcase`, and the run that segmented them."""

    run: str | None  # None without images or without a best run
    images: tuple[ShowcaseResult, ...]


class ShowcasePredictions(ArtifactFolder):
    """The folder of predictions on the user's own images."""

    command = "pipeline showcase"
    LIST = MAIN = "showcase.json"

    @cached_property
    def list(self) -> ShowcaseList:
        """The images and their run."""
        return self.read_json(self.LIST, ShowcaseList)

    def read_image(self, place: int) -> tuple[npt.NDArray[np.uint8 | np.uint16], Mask, Mask | None]:
        """Read the image at a place of the list: image H x W x C, predicted mask, ground truth if it is known."""
        arrays = self.read_arrays(f"{place}.npz")
        with self.reading(f"{place}.npz"):
            truth = np.asarray(arrays["truth"], dtype=np.uint8) if "truth" in arrays else None
            return arrays["image"], np.asarray(arrays["prediction"], dtype=np.uint8), truth

    def write_image(self, place: int, image: npt.NDArray[np.generic], prediction: Mask, truth: Mask | None) -> None:
        """Write the image at a place of the list, in its own proportions, with its masks."""
        arrays = {"image": image, "prediction": prediction} | ({} if truth is None else {"truth": truth})
        self.write_arrays(f"{place}.npz", arrays)
