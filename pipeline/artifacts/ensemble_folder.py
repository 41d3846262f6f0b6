"""`ensemble/`: scores and uncertainty of the ensemble of the best setting's runs, beside those of its members."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from pipeline.artifacts.folder import ArtifactFolder, Record

if TYPE_CHECKING:
    import pandas as pd

MAP_DECIMALS = 3  # of the maps of the uncertainty, which are then smaller
RUN_NAME = "ensemble"  # the name by which commands select the ensemble instead of a run


@dataclass(frozen=True)
class EnsembleMember(Record):
    """A run whose network is part of the ensemble."""

    run: str
    key: str  # run key


@dataclass(frozen=True)
class Temperature(Record):
    """The number by which the logits of the ensemble, the logarithms of its mean probabilities, are divided."""

    value: Annotated[float, Field(gt=0, allow_inf_nan=False)]  # 1 if none was fitted
    reason: str  # sentence on why none was fitted; otherwise empty


@dataclass(frozen=True)
class UnscaledScores(Record):
    """Scores of the ensemble on a split without its temperature; None without evaluated pixels."""

    loss: float | None
    confidence: float | None
    calibration_error: float | None


@dataclass(frozen=True)
class EnsembleScore(Record):
    """A score of the ensemble on a split, beside those of its members; undefined numbers are None."""

    split: str
    score: str  # as in docs/reference/metrics.md
    class_name: str  # empty for a score over all classes
    ensemble: float | None
    members_mean: float | None
    members_sd: float | None  # sample standard deviation
    difference: float | None  # ensemble minus members_mean
    low: float | None = None  # ends of the 95% interval of the difference on new images
    high: float | None = None

    @classmethod
    def create(
        cls,
        split: str,
        score: str,
        class_name: str,
        ensemble: float,
        members: Sequence[float],
        interval: tuple[float, float] | None = None,
    ) -> EnsembleScore:
        """Create a row from numbers that are NaN if they are undefined."""
        mean = float(np.mean(members)) if members else math.nan  # NaN if a member's score is
        deviation = float(np.std(members, ddof=1)) if len(members) > 1 else math.nan
        numbers = [None if math.isnan(one) else float(one) for one in (ensemble, mean, deviation, ensemble - mean)]
        return cls(split, score, class_name, *numbers, *(interval or (None, None)))


@dataclass(frozen=True)
class EnsembleCost(Record):
    """What a prediction with the ensemble costs, regardless of the machine."""

    networks: int
    multiply_accumulates: int  # of one image at the prepared size, or of one tile of native images
    parameters: int
    model_bytes: int  # size of all files of weights


@dataclass(frozen=True)
class EnsembleExample(Record):
    """An image whose maps are kept."""

    id: str
    entropy: float  # mean over the evaluated pixels, nats
    disagreement: float  # likewise


@dataclass(frozen=True)
class EnsembleRecord(Record):
    """`ensemble.json`: the members of the ensemble and its scores."""

    members: tuple[EnsembleMember, ...]  # empty if no setting is ranked
    key: str  # hash of the members' keys and of the temperature
    reason: str  # sentence on why the runs are too few for an ensemble; otherwise empty
    images: dict[str, int]  # number of images by split, of the splits that are scored
    temperature: Temperature
    unscaled: dict[str, UnscaledScores]  # by split
    scores: tuple[EnsembleScore, ...]
    cost: EnsembleCost | None
    example_split: str | None  # split of `examples`
    examples: tuple[EnsembleExample, ...]  # from the most uncertain image to the least

    @classmethod
    def without_scores(cls, members: tuple[EnsembleMember, ...], reason: str) -> EnsembleRecord:
        """Create the record of too few runs."""
        temperature = Temperature(1.0, reason)
        key = compute_ensemble_key([member.key for member in members], temperature.value)
        return cls(members, key, reason, {}, temperature, {}, (), None, None, ())

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits that are scored."""
        return tuple(self.images)

    def find_score(self, split: str, score: str, class_name: str = "") -> EnsembleScore | None:
        """Return a score on a split; None if the split is not scored."""
        wanted = split, score, class_name
        return next((row for row in self.scores if (row.split, row.score, row.class_name) == wanted), None)


@dataclass(frozen=True)
class UncertaintyMaps:
    """The ensemble's prediction for an image, H x W each."""

    prediction: npt.NDArray[np.uint8]  # class indices
    entropy: npt.NDArray[np.float32]  # of the mean prediction, nats
    disagreement: npt.NDArray[np.float32]  # of the members, nats


class EnsembleFolder(ArtifactFolder):
    """The folder `ensemble/`."""

    command = "pipeline ensemble"
    RECORD = MAIN = "ensemble.json"
    # One row per image of the scored splits; numbers are means over the image's evaluated pixels, and empty without any
    IMAGES = "images.csv"
    IMAGE_COLUMNS = ("id", "split", "loss", "members_loss", "accuracy", "entropy", "disagreement")
    RISK_COVERAGE = "risk_coverage.csv"  # error rate of the most certain pixels, by their share of all pixels
    RISK_COVERAGE_COLUMNS = ("split", "coverage", "error_rate")
    EXAMPLES = "examples"  # folder with <sample id>.npz: arrays `prediction`, `entropy` and `disagreement`

    @cached_property
    def record(self) -> EnsembleRecord:
        """The members of the ensemble and its scores."""
        return self.read_json(self.RECORD, EnsembleRecord)

    def read_images(self) -> pd.DataFrame:
        """Read the loss and the uncertainty of individual images."""
        return self.read_table(self.IMAGES, self.IMAGE_COLUMNS, {"id": str, "split": str})

    def read_risk_coverage(self) -> pd.DataFrame:
        """Read the risk-coverage curves."""
        return self.read_table(self.RISK_COVERAGE, self.RISK_COVERAGE_COLUMNS, {"split": str})

    def read_example(self, sample: str) -> UncertaintyMaps:
        """Read the prediction for a sample and its uncertainty."""
        name = f"{self.EXAMPLES}/{sample}.npz"
        arrays = self.read_arrays(name)
        with self.reading(name):
            return UncertaintyMaps(
                np.asarray(arrays["prediction"], dtype=np.uint8),
                *(np.asarray(arrays[kind], dtype=np.float32) for kind in ("entropy", "disagreement")),
            )

    def write_examples(self, maps: Iterable[tuple[str, UncertaintyMaps]]) -> None:
        """Write predictions and their uncertainty by sample id."""
        (self.path / self.EXAMPLES).mkdir()
        for sample, found in maps:
            arrays: dict[str, npt.NDArray[np.generic]] = {"prediction": found.prediction}
            for kind in ("entropy", "disagreement"):
                arrays[kind] = np.round(getattr(found, kind), MAP_DECIMALS).astype(np.float16)
            self.write_arrays(f"{self.EXAMPLES}/{sample}.npz", arrays)


def compute_ensemble_key(keys: Iterable[str], temperature: float) -> str:
    """Compute the key of an ensemble from its temperature and the run keys of its members in any order."""
    return hashlib.sha256("\n".join([*sorted(keys), f"temperature {temperature:g}"]).encode()).hexdigest()
