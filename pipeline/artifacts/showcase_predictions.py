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
    """Result for an image of `report.showcase`."""

    file: str
    title: str
    mask: str | None
    iou: float | None  # foreground IoU; None without a ground-truth mask
    mean_iou: float | None  # None without a ground-truth mask


@dataclass(frozen=True)
class ShowcaseList(Record):
    """`showcase.json`: the images in the order of `report.showcase`, and the run that segmented them."""

    run: str | None  # None if there are no images or no best run
    images: tuple[ShowcaseResult, ...]


class ShowcasePredictions(ArtifactFolder):
    """The `showcase_predictions/` folder."""

    command = "pipeline showcase"
    LIST = MAIN = "showcase.json"

    @cached_property
    def list(self) -> ShowcaseList:
        """The images, and the run that segmented them."""
        return self.read_json(self.LIST, ShowcaseList)

    def read_image(self, place: int) -> tuple[npt.NDArray[np.uint8 | np.uint16], Mask, Mask | None]:
        """Read an image by its index in the list: image (H x W x C), predicted mask, and ground truth or None."""
        arrays = self.read_arrays(f"{place}.npz")
        with self.reading(f"{place}.npz"):
            truth = np.asarray(arrays["truth"], dtype=np.uint8) if "truth" in arrays else None
            return arrays["image"], np.asarray(arrays["prediction"], dtype=np.uint8), truth

    def write_image(self, place: int, image: npt.NDArray[np.generic], prediction: Mask, truth: Mask | None) -> None:
        """Write an image by its index in the list (H x W x C, with its original aspect ratio), and its masks."""
        arrays = {"image": image, "prediction": prediction} | ({} if truth is None else {"truth": truth})
        self.write_arrays(f"{place}.npz", arrays)
