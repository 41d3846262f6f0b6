"""A trained run, ready to segment pictures from anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from pipeline import runs
from pipeline.comparison import Summary
from pipeline.data.prepared import open_split
from pipeline.errors import PipelineError
from pipeline.imaging.mask_encoding import MaskValues
from pipeline.inference.mask_encoding import create_mask_encoding
from pipeline.inference.preprocessing import Preprocessing, Shares
from pipeline.models.inference import log_probabilities
from pipeline.models.load_trained import load_trained_network
from pipeline.models.precision import get_device
from pipeline.params import Params
from pipeline.params.data.image_data import ImageMaskData
from pipeline.params.run_config import read_run_config
from pipeline.predict.provenance import advise_on_composites, describe_training_data
from pipeline.project import make
from pipeline.runs import DataSet, RunRecord


@dataclass(frozen=True)
class Predictor:
    """A run's network and what it has to be known for using it."""

    run: str
    network: nn.Module
    precision: runs.Precision
    preprocessing: Preprocessing
    data: DataSet
    values: MaskValues
    trained_on: str  # a line that names the training data
    advice: str  # on better training data; may be empty

    @classmethod
    def of_run(cls, params: Params, run: str, root: Path) -> Predictor:
        """Load a run of the project, `best` for the one that validation chose.

        Raises `PipelineError` where there is no such run, or it is of other data than the prepared ones.
        """
        name = _best(root) if run == "best" else run
        folder, data = runs.run_folder(name, root), DataSet.read(root / runs.PREPARED)
        record = RunRecord.read(folder)
        if record.data_fingerprint != data.fingerprint:
            raise PipelineError(
                f"{folder} was trained on other data than {root / runs.PREPARED} holds now. Train it again: "
                f"{make('report', root)}"
            )
        like = open_split("train", root / runs.PREPARED).images
        resize = params.data.resize if isinstance(params.data, ImageMaskData) else "pad"
        return cls(
            run=name,
            network=load_trained_network(record, folder, channels=like.shape[-1], classes=len(data.classes)),
            precision=record.precision,
            preprocessing=Preprocessing.of_training(like, resize),
            data=data,
            values=create_mask_encoding(params.data, [item.name for item in data.classes]),
            trained_on=describe_training_data(read_run_config(record, folder), data, len(like), like.shape[1]),
            advice=advise_on_composites(params),
        )

    def shares(self, squares: Sequence[npt.NDArray[Any]]) -> Shares:
        """The classes' probabilities over some squares: N x classes x size x size."""
        full = float(np.iinfo(squares[0].dtype).max)
        images = torch.from_numpy(np.stack(squares)).to(get_device(self.network)).permute(0, 3, 1, 2).float() / full
        found: Shares = log_probabilities(self.network, images, self.precision).exp().cpu().numpy()
        return found


def _best(root: Path) -> str:
    best = Summary.read(root / runs.COMPARISON).best
    if best is None:
        raise PipelineError("No run is the best: no learning rate finished all its seeds. Name one: --run unet-0.001-0")
    return best.run
