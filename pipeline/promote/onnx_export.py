"""Export a network to ONNX, which can be loaded without this project's code and without unpickling."""

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

from pipeline.artifacts.image_stack import ImageStack
from pipeline.artifacts.prepared_data import Split
from pipeline.atomic_io import add_file_name
from pipeline.errors import PipelineError
from pipeline.inference.prediction import compute_batch_size, predict_split
from pipeline.inference.trained_run import TrainedRun
from pipeline.promote.served_model import predict_probs

# Share of the pixels for which the exported and the trained network, both in float32, predict the same class. A network
# that was trained in bfloat16 disagrees on a few per mille more when it predicts in bfloat16.
MIN_AGREEMENT = 0.999


def export_onnx(run: TrainedRun, target: Path) -> None:
    """Export a run's network as an ONNX file in float32.

    Its input `images` has the shape N x channels x H x W, any N, and values from 0 to 1. Its output `probabilities` has
    the shape N x classes x H x W.

    Raises:
        PipelineError: The network has an operation that cannot be exported.
    """
    network = nn.Sequential(run.network, nn.Softmax(dim=1)).to("cpu").eval()
    example = torch.zeros(
        2, run.preprocessing.channels, *run.input_size
    )  # a batch size of 1 would be exported as a constant
    try:
        with _silence_exporter():
            program = torch.onnx.export(
                network,
                (example,),
                input_names=["images"],
                output_names=["probabilities"],
                dynamic_shapes=({0: torch.export.Dim("images")},),
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # the exporter raises many kinds of errors
        raise PipelineError(
            f"{run.name}: the network cannot be exported to ONNX ({type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else ''}). Promote a run of another variant."
        ) from error
    assert program is not None
    with add_file_name(target):
        program.save(target, external_data=False)


def measure_agreement(run: TrainedRun, onnx: Path, split: Split) -> float:
    """Measure the share of a split's pixels for which the exported and the trained network predict the same class.

    The trained network predicts in its own precision. The export is checked in float32, in which the exported network
    predicts.

    Raises:
        PipelineError: The share in float32 is below `MIN_AGREEMENT`.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(onnx), providers=["CPUExecutionProvider"])
    size, classes = compute_batch_size(*run.input_size), len(run.data.classes)
    probs = predict_probs(session, split.images, classes, run.tiles, size)
    exported = ImageStack.of([one.argmax(axis=0).astype(np.uint8) for one in probs])
    exact = predict_split(run.network, split, classes, "float32", tiles=run.tiles).masks
    share = float((exported.pixels == exact.pixels).mean())
    if share < MIN_AGREEMENT:
        raise PipelineError(
            f"{run.name}: the network exported to ONNX predicts the same class as the trained network for only "
            f"{share:.2%} of the validation pixels; {MIN_AGREEMENT:.1%} are required. Promote a run of another variant."
        )
    if run.precision == "float32":
        return share
    return float((exported.pixels == run.predict_split(split).masks.pixels).mean())


@contextlib.contextmanager
def _silence_exporter() -> Iterator[None]:
    """Suppress the output, warnings and log messages of the exporter during a block."""
    level = logging.getLogger("torch.onnx").level
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.getLogger("torch.onnx").setLevel(level)
