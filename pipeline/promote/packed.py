"""The model as a folder that MLflow loads: the network, what its numbers mean, and the code that serves it."""

from __future__ import annotations

import base64
import contextlib
import io
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from pipeline.atomic_io import as_json
from pipeline.data.prepared import Split
from pipeline.inference.preprocessing import Preprocessing
from pipeline.predict.predictor import Predictor
from pipeline.promote.served import DESCRIPTION, IMAGE, MASK, NETWORK

# Not `pipeline`: where the model is loaded, that may be installed in another version.
PACKAGE = "learning_report_model"
CODE = ("imaging", "inference/preprocessing.py", "promote/served.py")  # their imports of each other are relative
NEEDS = ("mlflow", "numpy", "onnxruntime", "pandas", "pillow")
NEEDS_OF_CHANNELS = ("imagecodecs", "tifffile")  # where pictures are neither grey nor RGB of 8 bits
EXAMPLES = 3

_ENTRY = f'''"""What MLflow runs to load the model."""

from mlflow.models import set_model

from {PACKAGE}.promote.served import SegmentationModel

set_model(SegmentationModel())
'''


def pack(predictor: Predictor, onnx: Path, examples: Split, target: Path) -> None:
    """Write the model's folder.

    Args:
        predictor: the run, for what its network has to be known for using it.
        onnx: the network.
        examples: images to show a caller what to send; of them the first few.
        target: the folder, which must not be there yet.
    """
    import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    names = [item.name for item in predictor.data.classes]
    outputs: list[ColSpec | TensorSpec] = [ColSpec("string", MASK)]
    outputs += [ColSpec("double", f"share_{name}") for name in names]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _copy_code(folder / PACKAGE)
        (folder / "model.py").write_text(_ENTRY, encoding="utf-8")
        described = {
            "preprocessing": vars(predictor.preprocessing),
            "classes": [vars(c) for c in predictor.data.classes],
        }
        (folder / "description.json").write_text(as_json(described), encoding="utf-8")
        with _importable(folder):
            mlflow.pyfunc.save_model(
                str(target),
                python_model=str(folder / "model.py"),
                code_paths=[str(folder / PACKAGE)],
                artifacts={NETWORK: str(onnx), DESCRIPTION: str(folder / "description.json")},
                signature=ModelSignature(Schema([ColSpec("string", IMAGE)]), Schema(outputs)),
                input_example=pd.DataFrame({IMAGE: _encoded(examples)}),
                pip_requirements=[f"{package}=={version(package)}" for package in _needs(predictor.preprocessing)],
            )


def _copy_code(folder: Path) -> None:
    """Copy the modules that the model needs into a package of its own."""
    for name in CODE:
        source, target = Path(__file__).parents[1] / name, folder / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def _needs(preprocessing: Preprocessing) -> tuple[str, ...]:
    return NEEDS if _fits_png(preprocessing.channels, preprocessing.bits) else (*NEEDS, *NEEDS_OF_CHANNELS)


def _fits_png(channels: int, bits: int) -> bool:
    return channels == 1 or (channels, bits) == (3, 8)


def _encoded(examples: Split) -> list[str]:
    found = []
    for image in np.asarray(examples.images[:EXAMPLES]):
        buffer = io.BytesIO()
        if _fits_png(image.shape[-1], 8 * image.dtype.itemsize):
            Image.fromarray(image if image.shape[-1] == 3 else image[..., 0]).save(buffer, "PNG")
        else:
            from tifffile import imwrite

            imwrite(buffer, np.moveaxis(image, -1, 0), photometric="minisblack", compression="zlib", metadata=None)
        found.append(base64.b64encode(buffer.getvalue()).decode("ascii"))
    return found


@contextlib.contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """MLflow runs the code once, to see that it makes a model."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for module in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
            del sys.modules[module]
