"""Export a network to ONNX, which can be loaded without this project's code and without unpickling."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipeline.artifacts.prepared_data import Split
from pipeline.artifacts.run_folder import Precision
from pipeline.atomic_io import add_file_name
from pipeline.errors import PipelineError
from pipeline.inference.onnx_prediction import predict_probs
from pipeline.inference.prediction import compute_batch_size
from pipeline.inference.trained_run import TrainedRun

# Share of the pixels, by the precision of the trained network. The exported network computes in float32. Rounding to
# bfloat16 changes a few per mille.
MIN_AGREEMENT: dict[Precision, float] = {"float32": 0.999, "bfloat16": 0.98}


def export_onnx(run: TrainedRun, target: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Export a run's network as an ONNX file in float32.

    Its input `images` has the shape N x channels x H x W, any N, and values from 0 to 1. Its output `probabilities` has
    the shape N x classes x H x W. The file has `metadata` as its `metadata_props`.

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
            f"{str(error).splitlines()[0] if str(error) else ''}). Choose a run of another variant."
        ) from error
    assert program is not None
    _replace_metadata(program.model, metadata or {})
    with add_file_name(target):
        program.save(target, external_data=False)


def _replace_metadata(model: Any, metadata: Mapping[str, str]) -> None:
    """Replace the metadata of the exporter, which contains stack traces with paths of this machine."""
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
    model.graph.metadata_props.clear()
    model.metadata_props.clear()
    model.metadata_props.update(metadata)


def measure_agreement(run: TrainedRun, onnx: Path, split: Split) -> float:
    """Measure the share of a split's pixels for which the exported and the trained network predict the same class.

    Raises:
        PipelineError: The share is below that in `MIN_AGREEMENT`.
    """
    import onnxruntime

    trained = run.predict_split(split).masks
    session = onnxruntime.InferenceSession(str(onnx), providers=["CPUExecutionProvider"])
    size = compute_batch_size(*run.input_size)
    predicted = predict_probs(session, split.images, len(run.data.classes), run.tiles, size)
    same = sum(int((probs.argmax(axis=0) == mask).sum()) for probs, mask in zip(predicted, trained, strict=True))
    share = same / len(trained.pixels)
    required = MIN_AGREEMENT[run.precision]
    if share < required:
        raise PipelineError(
            f"{run.name}: the network exported to ONNX predicts the same class as the trained network for only "
            f"{share:.2%} of the validation pixels; {required:.1%} are required. Choose a run of another variant."
        )
    return share


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
