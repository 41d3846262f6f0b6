"""The model as MLflow loads and serves it: pictures in, masks out.

This file travels with the model, beside copies of the modules that it imports: they know nothing of the rest of this
package, and need numpy, Pillow, ONNX Runtime and MLflow only; tifffile too where pictures are TIFFs of other channels
than grey and RGB.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from numpy.typing import NDArray
from PIL import Image

from ..imaging.errors import PictureError
from ..inference.preprocessing import Preprocessing

IMAGE, MASK = "image", "mask"  # columns; base64 of a file: a picture, and a PNG
NETWORK, DESCRIPTION = "network", "description"  # artifacts: ONNX, and what its numbers mean, JSON


class SegmentationModel(PythonModel):
    """From a table with a column `image` to one with the columns `mask` and `share_<class>`, a row a picture.

    A mask is as large as its picture, and holds a class's place in the description's list at each pixel.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Open the network; called once."""
        import onnxruntime

        described = json.loads(Path(context.artifacts[DESCRIPTION]).read_text(encoding="utf-8"))
        self._classes: list[str] = [item["name"] for item in described["classes"]]
        self._preprocessing = Preprocessing(**described["preprocessing"])
        self._session = onnxruntime.InferenceSession(context.artifacts[NETWORK], providers=["CPUExecutionProvider"])

    # MLflow takes both forms of `predict`; its own class shows the older one.
    def predict(self, model_input: pd.DataFrame) -> pd.DataFrame:  # type: ignore[override]
        """Segment each picture; raises `MlflowException`, which a server answers with 400, where one is none."""
        pictures = [self._picture(text, row) for row, text in enumerate(model_input[IMAGE])]
        shares = probabilities(self._session, [self._preprocessing.network_input(one) for one in pictures])
        rows = []
        for picture, found in zip(pictures, shares, strict=True):
            strips = [strip.argmax(axis=0) for _, strip in self._preprocessing.at_full_size(found, picture.shape)]
            labels = np.concatenate(strips).astype(np.uint8)
            counts = np.bincount(labels.ravel(), minlength=len(self._classes)) / labels.size
            named = {f"share_{name}": float(share) for name, share in zip(self._classes, counts, strict=True)}
            rows.append({MASK: _encoded(labels), **named})
        return pd.DataFrame(rows)

    def _picture(self, text: Any, row: int) -> NDArray[Any]:
        try:
            return self._preprocessing.read(base64.b64decode(text, validate=True))
        except (PictureError, binascii.Error, TypeError, ValueError) as error:
            what = str(error) if isinstance(error, PictureError) else "is no file in base64"
            raise MlflowException(f"Row {row}: {IMAGE} {what}.", error_code=INVALID_PARAMETER_VALUE) from None


def probabilities(session: Any, inputs: list[NDArray[Any]]) -> NDArray[np.float32]:
    """The classes' probabilities, N x classes x size x size, over the network's inputs, size x size x channels each."""
    stacked = np.stack(inputs)
    images = stacked.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(np.iinfo(stacked.dtype).max)
    found: NDArray[np.float32] = session.run(None, {session.get_inputs()[0].name: images})[0]
    return found


def _encoded(labels: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(labels).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
