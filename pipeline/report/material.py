"""What the stages wrote, read when a section asks for it.

Whatever is missing or broken raises `PipelineError` with the command that makes it, so that a section can become a card
and the rest of the page stands.
"""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from pipeline import runs
from pipeline.atomic_io import read_json
from pipeline.comparison import Finding, Summary
from pipeline.errors import PipelineError
from pipeline.imaging.resize import Resize
from pipeline.project import make
from pipeline.report.figures.frames import Frame
from pipeline.runs import Cutouts, DataSet, Evaluation, RunRecord, Survey

Mask = npt.NDArray[np.uint8]  # H x W, class indices or IGNORE
Photo = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]  # H x W x C


class Material:
    """The files of a project's folder.

    Args:
        root: the folder.
        composed: splits of composites, which are made at the prepared size and show a part of each original only.
        resize: how the originals of the other splits were fitted into the prepared squares.
    """

    def __init__(self, root: Path, composed: Collection[str] = (), resize: Resize = "squash") -> None:
        self.root, self._composed, self._resize = root, composed, resize

    @cached_property
    def summary(self) -> Summary:
        """The comparison of the grid."""
        with self._reading(runs.COMPARISON / runs.SUMMARY, "pipeline compare"):
            return Summary.read(self.root / runs.COMPARISON)

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """The sentences that the comparison found."""
        with self._reading(runs.COMPARISON / runs.FINDINGS, "pipeline compare") as path:
            content = read_json(path, "pipeline compare")["findings"]
            return tuple(Finding(item["id"], str(item["sentence"]), tuple(item["runs"])) for item in content)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """The yardstick by run, split and epoch: `CURVE_COLUMNS`, finite losses only."""
        with self._reading(runs.COMPARISON / runs.CURVES, "pipeline compare") as path:
            table = _table(path, runs.CURVE_COLUMNS, {"run": str, "variant": str, "split": str})
            return table[np.isfinite(table["loss"].astype(float))]

    @cached_property
    def parts(self) -> pd.DataFrame:
        """What each run's gap is made of: `PART_COLUMNS`."""
        with self._reading(runs.COMPARISON / runs.PARTS, "pipeline compare") as path:
            return _table(path, runs.PART_COLUMNS, {"run": str, "part": str, "name": str})

    @cached_property
    def data(self) -> DataSet:
        """The prepared data set."""
        with self._reading(runs.PREPARED / runs.CLASSES, "pipeline prepare"):
            return DataSet.read(self.root / runs.PREPARED)

    @cached_property
    def samples(self) -> dict[str, tuple[str, ...]]:
        """The samples' ids by split, in the order of the arrays' rows."""
        with self._reading(runs.PREPARED / runs.SAMPLES, "pipeline prepare") as path:
            table = pd.read_csv(path, dtype=str, keep_default_na=False)
            return {str(split): tuple(rows["id"]) for split, rows in table.groupby("split", sort=False)}

    @cached_property
    def sample_table(self) -> pd.DataFrame:
        """All that is known of the samples: `SAMPLE_COLUMNS`, then share_<class>."""
        shares = {f"share_{item.name}": float for item in self.data.classes}
        numbers = dict.fromkeys(("height", "width", "pixels"), int)
        dtypes = {**dict.fromkeys(runs.SAMPLE_COLUMNS, str), **numbers, **shares}
        with self._reading(runs.PREPARED / runs.SAMPLES, "pipeline prepare") as path:
            return _table(path, tuple(dtypes), dtypes, keep_default_na=False)

    @cached_property
    def rejected(self) -> pd.DataFrame:
        """What was left out of the prepared data: id, reason."""
        with self._reading(runs.PREPARED / runs.REJECTED, "pipeline prepare") as path:
            return _table(path, ("id", "reason"), {"id": str, "reason": str}, keep_default_na=False)

    @cached_property
    def survey(self) -> Survey | None:
        """What is known of the files that the data was made from; None of data prepared before that was written."""
        if not (self.root / runs.PREPARED / runs.SURVEY).exists():
            return None
        with self._reading(runs.PREPARED / runs.SURVEY, "pipeline prepare"):
            return Survey.read(self.root / runs.PREPARED)

    @cached_property
    def _shapes(self) -> dict[str, list[tuple[int, int]]]:
        """Height and width of the originals by split, in the order of the arrays' rows."""
        splits = self.sample_table.groupby("split", sort=False)
        return {str(split): list(zip(rows["height"], rows["width"], strict=True)) for split, rows in splits}

    def frame(self, split: str, row: int) -> Frame:
        """How a sample's original was fitted into its square; a composite is the whole square."""
        if split in self._composed:
            return Frame(1, 1, self._resize)
        height, width = self._shapes[split][row]
        return Frame(int(height), int(width), self._resize)

    def image(self, split: str, row: int) -> Photo:
        """A sample's image."""
        with self._reading(runs.PREPARED / split / runs.IMAGES, "pipeline prepare") as path:
            photo: Photo = np.array(np.load(path, mmap_mode="r")[row])
            return photo

    def truth(self, split: str, row: int) -> Mask:
        """A sample's true mask."""
        with self._reading(runs.PREPARED / split / runs.MASKS, "pipeline prepare") as path:
            return np.array(np.load(path, mmap_mode="r")[row], dtype=np.uint8)

    def record(self, run: str) -> RunRecord:
        """A run's record."""
        with self._reading(runs.RUNS / run / runs.RECORD, f"dvc repro train@{run}"):
            return RunRecord.read(self.root / runs.RUNS / run)

    def showcase_masks(self, run: str) -> npt.NDArray[np.uint8]:
        """The first showcase image's mask after each epoch of a run: epoch x H x W."""
        with (
            self._reading(runs.RUNS / run / runs.SHOWCASE_MASKS, f"dvc repro train@{run}") as path,
            np.load(path) as file,
        ):
            return np.asarray(file["masks"][:, 0], dtype=np.uint8)

    def evaluation(self, run: str) -> Evaluation:
        """A run's scores."""
        with self._reading(runs.EVALUATION / run / runs.METRICS, f"dvc repro evaluate@{run}"):
            return Evaluation.read(self.root / runs.EVALUATION / run)

    def reliability(self, run: str) -> pd.DataFrame:
        """How sure a run is and how right, on both sides, by confidence: `CALIBRATION_COLUMNS`."""
        with self._reading(runs.EVALUATION / run / runs.CALIBRATION, f"dvc repro evaluate@{run}") as path:
            return _table(path, runs.CALIBRATION_COLUMNS, {"split": str})

    def maps(self, run: str) -> dict[str, npt.NDArray[np.uint8]]:
        """Maps of a U-Net on the showcase, by name as `runs.EXPLAIN` says; none where the run is of another network."""
        if not (self.root / runs.EVALUATION / run / runs.EXPLAIN).exists():
            return {}
        with (
            self._reading(runs.EVALUATION / run / runs.EXPLAIN, f"dvc repro evaluate@{run}") as path,
            np.load(path, allow_pickle=False) as file,
        ):
            return {name: np.asarray(file[name], dtype=np.uint8) for name in ("skip", "below", "before", "after")}

    def per_image(self, run: str, score: str) -> dict[str, float]:
        """Read a column of scores of a run's images, by sample; images whose score is undefined are left out."""
        with self._reading(runs.EVALUATION / run / runs.PER_IMAGE, f"dvc repro evaluate@{run}") as path:
            table = pd.read_csv(path, dtype={"id": str}).dropna(subset=[score])
            return dict(zip(table["id"], table[score].astype(float), strict=True))

    def validation_losses(self, run: str) -> dict[str, float]:
        """Read the loss of each validation image with evaluated pixels at a run's best epoch, by sample."""
        with self._reading(runs.EVALUATION / run / runs.PER_IMAGE, f"dvc repro evaluate@{run}") as path:
            table = pd.read_csv(path, dtype={"id": str}).dropna(subset=["loss"])
            rows = table[table["split"] == "validation"]
            return dict(zip(rows["id"], rows["loss"].astype(float), strict=True))

    def examples(self, run: str) -> frozenset[str]:
        """The samples that a run keeps its mask of."""
        with self._reading(runs.EVALUATION / run / runs.EXAMPLES, f"dvc repro evaluate@{run}") as path:
            found = frozenset(file.stem for file in path.iterdir() if file.suffix == ".png")
            if not found:
                raise ValueError("it holds no pictures")
            return found

    def example(self, run: str, sample: str) -> Mask:
        """A run's predicted mask of a sample."""
        with (
            self._reading(runs.EVALUATION / run / runs.EXAMPLES / f"{sample}.png", f"dvc repro evaluate@{run}") as path,
            Image.open(path) as picture,
        ):
            if picture.mode not in ("L", "P"):  # either holds the indices themselves, P with colours beside them
                raise ValueError(f"it must hold 8-bit class indices, but is of mode {picture.mode}")
            return np.asarray(picture, dtype=np.uint8)

    @cached_property
    def cutouts(self) -> Cutouts:
        """The photographs of `report.showcase`, and who cut them out."""
        with self._reading(runs.CUTOUTS / runs.CUTOUT_LIST, "pipeline showcase"):
            return Cutouts.read(self.root / runs.CUTOUTS)

    def cutout(self, place: int) -> tuple[Photo, Mask, Mask | None]:
        """A photograph in its own proportions, its predicted mask, and its true one where that is known."""
        with (
            self._reading(runs.CUTOUTS / runs.CUTOUT.format(place), "pipeline showcase") as path,
            np.load(path, allow_pickle=False) as file,
        ):
            truth = np.asarray(file["truth"], dtype=np.uint8) if "truth" in file else None
            return np.asarray(file["image"]), np.asarray(file["prediction"], dtype=np.uint8), truth

    @contextlib.contextmanager
    def _reading(self, path: Path, maker: str) -> Iterator[Path]:
        """Give the path below the root; whatever reading it raises becomes a sentence that names the file."""
        try:
            yield self.root / path
        except PipelineError as error:
            raise PipelineError(str(error).replace(f"{self.root}/", "")) from None
        except FileNotFoundError:
            raise PipelineError(
                f"{path} is missing. `{maker}` makes it, or `{make('report', self.root)}` all there is to make."
            ) from None
        except (OSError, ValueError, KeyError, TypeError, IndexError, EOFError, zipfile.BadZipFile) as error:
            what = f"{type(error).__name__}: {error}".replace(f"{self.root}/", "")
            raise PipelineError(f"{path} cannot be read ({what}). Run `{maker}` again.") from None


def _table(
    path: Path, columns: Sequence[str], dtypes: dict[str, type], *, keep_default_na: bool = True
) -> pd.DataFrame:
    """A CSV table that has these columns; raises ValueError where it lacks one.

    Without `keep_default_na` a text such as "NA" is what it says.
    """
    table = pd.read_csv(path, dtype=dtypes, keep_default_na=keep_default_na)
    if missing := set(columns) - set(table.columns):
        raise ValueError(f"columns {', '.join(sorted(missing))} are missing")
    return table
