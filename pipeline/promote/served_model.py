"""The model as MLflow loads and serves it: images in, masks out.

A served model contains a copy of this file, which therefore imports relatively, and only modules that are copied, too.
It needs numpy, pandas, Pillow, ONNX Runtime and MLflow; tifffile for images of other channels than gray and RGB.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from numpy.typing import NDArray
from PIL import Image

from ..imaging.errors import ImageError
from ..inference.preprocessing import Preprocessing, Probs, measure_class_shares

IMAGE, MASK = "image", "mask"  # columns: an image file and a PNG, both in base64
NETWORK, DESCRIPTION = "network", "description"  # artifacts: ONNX; JSON with preprocessing, classes and batch size


class SegmentationModel(PythonModel):
    """Segment a table with the column `image` into one with the columns `mask` and `share_<class>`, one row per image.

    A mask is as large as its image. Its values are indices into the description's list of classes.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Open the network; MLflow calls it once."""
        import onnxruntime

        description = json.loads(Path(context.artifacts[DESCRIPTION]).read_text(encoding="utf-8"))
        self._class_names: list[str] = [item["name"] for item in description["classes"]]
        self._preprocessing = Preprocessing.from_description(description["preprocessing"])
        self._batch_size: int = description["batch_size"]
        self._session = onnxruntime.InferenceSession(context.artifacts[NETWORK], providers=["CPUExecutionProvider"])

    # MLflow supports both signatures of `predict`; its base class has the older one.
    def predict(self, model_input: pd.DataFrame) -> pd.DataFrame:  # type: ignore[override]
        """Segment images; raises `MlflowException`, which a server returns as status 400, if one cannot be read."""
        images = [self._read_image(text, row) for row, text in enumerate(model_input[IMAGE])]
        inputs = [self._preprocessing.create_input(image) for image in images]
        rows = []
        for image, probs in zip(images, predict_probs(self._session, inputs, self._batch_size), strict=True):
            labels = self._preprocessing.classify_pixels(probs, image.shape)
            shares = measure_class_shares(labels, len(self._class_names)).tolist()
            named = {f"share_{name}": share for name, share in zip(self._class_names, shares, strict=True)}
            rows.append({MASK: _encode_mask(labels), **named})
        return pd.DataFrame(rows)

    def _read_image(self, text: Any, row: int) -> NDArray[Any]:
        try:
            return self._preprocessing.read_image(base64.b64decode(text, validate=True))
        except (ImageError, binascii.Error, TypeError, ValueError) as error:
            reason = str(error) if isinstance(error, ImageError) else "is not a file in base64"
            raise MlflowException(f"Row {row}: {IMAGE} {reason}.", error_code=INVALID_PARAMETER_VALUE) from None


def predict_probs(session: Any, inputs: Sequence[NDArray[Any]] | NDArray[Any], batch_size: int) -> Probs:
    """Predict class probabilities, N x classes x H x W, with a session of ONNX Runtime.

    `inputs` are N network inputs, H x W x channels each, uint8 or uint16.
    """
    (name,) = (item.name for item in session.get_inputs())
    batches = []
    for start in range(0, len(inputs), batch_size):
        stacked = np.stack(list(inputs[start : start + batch_size]))
        images = stacked.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(np.iinfo(stacked.dtype).max)
        batches.append(session.run(None, {name: images})[0])
    probs: Probs = np.concatenate(batches)
    return probs


def _encode_mask(labels: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(labels).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
