"""Arrays with other channels than the training images, in notebooks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.artifacts.project import Project
from pipeline.errors import PipelineError
from pipeline.notebook.segmentation import Segmenter
from pipeline.params.file import read_params
from pipeline.train.train_cell import train_cell
from tests.channels import replace_images
from tests.conftest import TRAINED, write_params

SHAPE = (20, 30)


@pytest.mark.parametrize(
    ("trained_on", "accepted", "refused"),
    [
        ((4, np.uint8), [((4,), np.uint8)], [((), np.uint8), ((1,), np.uint8), ((3,), np.uint8)]),
        ((3, np.uint16), [((3,), np.uint16), ((), np.uint8), ((3,), np.uint8)], [((), np.uint16)]),
        ((1, np.uint8), [((), np.uint16), ((1,), np.uint8), ((3,), np.uint8)], [((4,), np.uint8)]),
    ],
)
def test_arrays_are_accepted_like_files(
    project: Path,
    trained_on: tuple[int, type],
    accepted: list[tuple[tuple[int, ...], type]],
    refused: list[tuple[tuple[int, ...], type]],
) -> None:
    replace_images(project, *trained_on)
    params = read_params(write_params(project, {"train": {"epochs": 1}}))
    train_cell(params.cell("unet", 0.01, 0))
    run = Segmenter(TRAINED, params, Project(project))
    for channels, dtype in accepted:
        assert run.predict(np.zeros((*SHAPE, *channels), dtype)).labels.shape == SHAPE
    for channels, dtype in refused:
        with pytest.raises(PipelineError, match=f"of type {np.dtype(dtype)}, but the network was trained on images"):
            run.predict(np.zeros((*SHAPE, *channels), dtype))
