"""Package a model as a folder that MLflow can load: the ONNX network, its description, and the code to serve it."""

from __future__ import annotations

import base64
import contextlib
import io
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from pipeline.artifacts.prepared_data import Split
from pipeline.atomic_io import to_json
from pipeline.inference.prediction import compute_batch_size
from pipeline.inference.trained_run import TrainedRun
from pipeline.promote.served_model import DESCRIPTION, IMAGE, MASK, NETWORK

# Not `pipeline`, because a different version of it may be installed where the model is loaded.
PACKAGE = "learning_report_model"
# Modules that import each other relatively, so that they work under another package name.
CODE = (
    "imaging",
    "inference/onnx_prediction.py",
    "inference/preprocessing.py",
    "inference/tiles.py",
    "promote/served_model.py",
)
REQUIREMENTS = ("mlflow", "numpy", "onnxruntime", "pandas", "pillow")
TIFF_REQUIREMENTS = ("imagecodecs", "tifffile")  # only for images that are neither gray nor 8-bit RGB
NUM_EXAMPLES = 3

_ENTRY = f'''"""MLflow runs this file to load the model."""

from mlflow.models import set_model

from {PACKAGE}.promote.served_model import SegmentationModel

set_model(SegmentationModel())
'''


def package_model(run: TrainedRun, onnx: Path, examples: Split, target: Path) -> None:
    """Write the folder of an MLflow model with the exported network, and images from `examples` as input example."""
    import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    is_png = _fits_png(run.preprocessing.channels, run.preprocessing.bits)
    requirements = REQUIREMENTS if is_png else (*REQUIREMENTS, *TIFF_REQUIREMENTS)
    names = run.data.class_names
    outputs: list[ColSpec | TensorSpec] = [ColSpec("string", MASK)]
    outputs += [ColSpec("double", f"share_{name}") for name in names]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _copy_code(folder / PACKAGE)
        (folder / "model.py").write_text(_ENTRY, encoding="utf-8")
        (folder / "description.json").write_text(to_json(describe_network(run)), encoding="utf-8")
        with _importable(folder):
            mlflow.pyfunc.save_model(
                str(target),
                python_model=str(folder / "model.py"),
                code_paths=[str(folder / PACKAGE)],
                artifacts={NETWORK: str(onnx), DESCRIPTION: str(folder / "description.json")},
                signature=ModelSignature(Schema([ColSpec("string", IMAGE)]), Schema(outputs)),
                input_example=pd.DataFrame({IMAGE: _encode_images(examples)}),
                pip_requirements=[f"{package}=={version(package)}" for package in requirements],
            )


def describe_network(run: TrainedRun) -> dict[str, Any]:
    """Describe how images are converted to inputs of a run's network, and what its outputs mean, for JSON."""
    return {
        "preprocessing": asdict(run.preprocessing),
        "tiles": asdict(run.tiles) if run.tiles else None,
        "classes": [vars(item) for item in run.data.classes],
        "batch_size": compute_batch_size(*run.input_size),
    }


def _copy_code(folder: Path) -> None:
    """Copy the modules that the model needs into a separate package."""
    for name in CODE:
        source, target = Path(__file__).parents[1] / name, folder / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def _fits_png(channels: int, bits: int) -> bool:
    return channels == 1 or (channels, bits) == (3, 8)


def _encode_images(split: Split) -> list[str]:
    """Encode the first images of a split as PNG or TIFF files in base64."""
    encoded = []
    for image in split.images.take(np.arange(min(len(split), NUM_EXAMPLES))):
        buffer = io.BytesIO()
        if _fits_png(image.shape[-1], 8 * image.dtype.itemsize):
            Image.fromarray(image if image.shape[-1] == 3 else image[..., 0]).save(buffer, "PNG")
        else:
            from tifffile import imwrite

            imwrite(buffer, np.moveaxis(image, -1, 0), photometric="minisblack", compression="zlib", metadata=None)
        encoded.append(base64.b64encode(buffer.getvalue()).decode("ascii"))
    return encoded


@contextlib.contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Make the code in a folder importable for a block, in which MLflow runs it to check that it defines a model."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for module in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
            del sys.modules[module]
