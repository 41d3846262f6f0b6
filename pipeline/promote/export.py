"""A network as ONNX: a graph and its numbers, which need no code of ours and hold no pickle."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pipeline.atomic_io import naming
from pipeline.data.prepared import Split
from pipeline.errors import PipelineError
from pipeline.models.inference import batch_size, predict
from pipeline.predict.predictor import Predictor
from pipeline.promote.served import probabilities

ALIKE = 0.98  # of the pixels; bfloat16 and float32 differ in some tenths of a per cent, a broken graph in far more
BATCH = 16  # images, fewer if they are large


def export_onnx(predictor: Predictor, target: Path) -> None:
    """Write the network as ONNX: float32, images N x channels x size x size in 0..1 to probabilities, any N.

    Raises `PipelineError` where the network has something that ONNX has no word for.
    """
    side, channels = predictor.preprocessing.size, predictor.preprocessing.channels
    network = nn.Sequential(predictor.network, nn.Softmax(dim=1)).to("cpu").eval()
    example = torch.zeros(2, channels, side, side)  # one would be taken for the only size of a batch
    try:
        with _quiet():
            program = torch.onnx.export(
                network,
                (example,),
                input_names=["images"],
                output_names=["probabilities"],
                dynamic_shapes=({0: torch.export.Dim("images")},),
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # the exporter's own, of many kinds
        raise PipelineError(
            f"{predictor.run}: its network cannot be written as ONNX ({type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else ''}). Promote a run of another variant."
        ) from error
    assert program is not None
    with naming(target):
        program.save(target, external_data=False)


def agreement(predictor: Predictor, onnx: Path, split: Split) -> float:
    """The share of a split's pixels that the exported network and the trained one sort into the same class.

    Raises `PipelineError` where they are not `ALIKE`.
    """
    import onnxruntime

    own = predict(predictor.network, split, len(predictor.data.classes), predictor.precision).masks
    session = onnxruntime.InferenceSession(str(onnx), providers=["CPUExecutionProvider"])
    same = 0
    size = min(BATCH, batch_size(*split.masks.shape[1:]))
    for start in range(0, len(split), size):
        found = probabilities(session, list(np.asarray(split.images[start : start + size]))).argmax(axis=1)
        same += int((found == own[start : start + size]).sum())
    share = same / own.size
    if share < ALIKE:
        raise PipelineError(
            f"{predictor.run}: as ONNX it sorts only {share:.1%} of validation's pixels as it did in training, where "
            f"{ALIKE:.0%} are asked for. Promote a run of another variant."
        )
    return share


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter tells of each step, and of libraries that it could use."""
    level = logging.getLogger("torch.onnx").level
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.getLogger("torch.onnx").setLevel(level)
