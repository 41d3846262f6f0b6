"""Images of a run for the image grid of MLflow's pages: the showcase, its ground truth, and its prediction by epoch.

`MlflowClient.log_image` names files by the clock and a random UUID, so that a repeated upload would add a second copy.
Here, names are derived from the run key, and MLflow finds the images by their names, which have its format:
`images/<key, with ~ for />+step+<n>+timestamp+<n>+<uuid>.png`, and a small copy that ends in `+compressed.webp`.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.analysis.epoch_selection import choose_epochs
from pipeline.artifacts.folder import hash_file
from pipeline.artifacts.prepared_data import SHOWCASE, PreparedData, SegmentationClass
from pipeline.artifacts.run_folder import RunFolder
from pipeline.imaging import IGNORE
from pipeline.imaging.to_rgb import to_rgb

if TYPE_CHECKING:
    from PIL import Image

IMAGES = "images"  # MLflow's artifact folder of the image grid
IMAGE, GROUND_TRUTH, PREDICTION = "showcase/image", "showcase/ground truth", "showcase/prediction"
RESULT_STEP = 0  # step of the image, its ground truth and the best epoch's prediction, which the page shows first
MAX_SIZE, COMPRESSED_SIZE = 256, 128  # px, longer side; the page shows the small copies of several runs side by side
IGNORED_COLOR = "#808080"
_VERSION = 1  # increase it if the same files give different images, so that they are uploaded again
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://mlflow.org/docs/latest/tracking#images")


@dataclass(frozen=True)
class RunImages:
    """The images of a finished run, which are rendered only for an upload."""

    run: RunFolder
    data: PreparedData  # that the run was trained on

    @classmethod
    def find(cls, run: RunFolder, data: PreparedData) -> RunImages | None:
        """Return the images of a run; None if it or the data has no showcase."""
        has_showcase = (data.path / SHOWCASE).is_dir() and len(data.open_split(SHOWCASE)) > 0
        return cls(run, data) if has_showcase and (run.path / run.SHOWCASE_MASKS).exists() else None

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of everything that the images depend on."""
        record, masks = self.run.record, hash_file(self.run.path / self.run.SHOWCASE_MASKS)
        parts = [str(_VERSION), record.key, str(record.best_epoch), masks, self.data.dataset.fingerprint]
        colors = [item.color for item in self.data.dataset.classes]
        return hashlib.sha256("\0".join([*parts, *colors]).encode()).hexdigest()

    @property
    def files(self) -> frozenset[str]:
        """Names of the files that `write` writes."""
        images = [(IMAGE, RESULT_STEP), (GROUND_TRUTH, RESULT_STEP), *((PREDICTION, step) for step in self._epochs)]
        return frozenset(name for key, step in images for name in self._name_files(key, step))

    def write(self, folder: Path) -> None:
        """Render the images into an empty folder; the same run gives the same files."""
        showcase, classes = self.data.open_split(SHOWCASE), self.data.dataset.classes
        images = {
            (IMAGE, RESULT_STEP): _draw_image(np.array(showcase.images[0])),
            (GROUND_TRUTH, RESULT_STEP): _draw_mask(np.array(showcase.masks[0]), classes),
        }
        masks = self.run.read_showcase_masks()
        for step, epoch in self._epochs.items():
            images[PREDICTION, step] = _draw_mask(masks[epoch - 1], classes)
        for (key, step), image in images.items():
            full, compressed = self._name_files(key, step)
            _resize(image, MAX_SIZE).save(folder / full)
            _resize(image, COMPRESSED_SIZE).save(folder / compressed, lossless=image.mode == "P", quality=80)

    @property
    def _epochs(self) -> Mapping[int, int]:
        """The epochs of the predictions by step: the best one at `RESULT_STEP`, then a few at their own number."""
        record = self.run.record
        selected = {epoch: epoch for epoch in choose_epochs(record.epochs, record.best_epoch)}
        return selected if record.best_epoch is None else {RESULT_STEP: record.best_epoch, **selected}

    def _name_files(self, key: str, step: int) -> tuple[str, str]:
        identifier = uuid.uuid5(_NAMESPACE, f"{self.run.record.key} {key} {step}")
        # The time of the epoch is unknown for a run that DVC restored, so the timestamp only repeats the step.
        name = f"{key.replace('/', '~')}+step+{step}+timestamp+{step}+{identifier}"
        return f"{name}.png", f"{name}+compressed.webp"


def _draw_image(image: npt.NDArray[np.uint8 | np.uint16]) -> Image.Image:
    from PIL import Image

    return Image.fromarray(np.ascontiguousarray(to_rgb(image)))


def _draw_mask(mask: npt.NDArray[np.uint8], classes: tuple[SegmentationClass, ...]) -> Image.Image:
    """Draw a mask (H x W, class indices) in the colors of its classes, with gray ignored pixels."""
    from PIL import Image, ImageColor

    palette = [ImageColor.getrgb(IGNORED_COLOR)] * (IGNORE + 1)
    palette[: len(classes)] = [item.rgb for item in classes]
    shown = Image.fromarray(mask)
    shown.putpalette([channel for color in palette for channel in color])
    return shown


def _resize(image: Image.Image, max_size: int) -> Image.Image:
    """Reduce a large image to `max_size`, or enlarge a small one by an integer, because browsers would blur it."""
    from PIL import Image

    longest = max(image.size)
    scale = max_size / longest if longest > max_size else max_size // longest
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.NEAREST if image.mode == "P" else Image.Resampling.LANCZOS)
