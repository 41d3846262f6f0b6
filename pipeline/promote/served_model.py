"""MLflow model that segments images.

A packaged model contains a copy of this file, which therefore uses relative imports, and imports only modules that are
copied as well. It requires numpy, pandas, Pillow, ONNX Runtime and MLflow, and tifffile for images that are neither
gray nor 8-bit RGB.
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

from ..imaging.errors import ImageError
from ..inference.onnx_prediction import predict_probs
from ..inference.preprocessing import Preprocessing, measure_class_shares
from ..inference.tiles import Tiles

IMAGE, MASK = "image", "mask"  # columns with an image file and with a PNG mask, both in base64
# Artifacts: the ONNX file, and a JSON file with preprocessing, tiles, classes and batch size.
NETWORK, DESCRIPTION = "network", "description"


class SegmentationModel(PythonModel):
    """MLflow model that predicts the mask and the class shares of each image.

    The input is a table with the column `image`, the output a table with the columns `mask` and `share_<class>`, with
    one row per image. A mask has the size of its image. Its values are indices of the classes in the description.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Load the description and the network; MLflow calls this method once."""
        import onnxruntime

        description = json.loads(Path(context.artifacts[DESCRIPTION]).read_text(encoding="utf-8"))
        self._class_names: list[str] = [item["name"] for item in description["classes"]]
        self._preprocessing = Preprocessing.from_description(description["preprocessing"])
        self._tiles = Tiles.from_description(description["tiles"]) if description["tiles"] else None
        self._batch_size: int = description["batch_size"]
        self._session = onnxruntime.InferenceSession(context.artifacts[NETWORK], providers=["CPUExecutionProvider"])

    # MLflow supports both signatures of `predict`; its base class has the older one.
    def predict(self, model_input: pd.DataFrame) -> pd.DataFrame:  # type: ignore[override]
        """Segment the images in a table.

        Raises:
            MlflowException: An image cannot be read. MLflow's server responds with status 400.
        """
        images = [self._read_image(text, row) for row, text in enumerate(model_input[IMAGE])]
        inputs = (self._preprocessing.create_input(image) for image in images)
        predicted = predict_probs(self._session, inputs, len(self._class_names), self._tiles, self._batch_size)
        rows = []
        for image, probs in zip(images, predicted, strict=True):
            labels = self._preprocessing.classify_pixels([probs], image.shape)
            shares = measure_class_shares(labels, len(self._class_names)).tolist()
            named = {f"share_{name}": share for name, share in zip(self._class_names, shares, strict=True)}
            rows.append({MASK: _encode_mask(labels), **named})
        return pd.DataFrame(rows)

    def _read_image(self, text: Any, row: int) -> NDArray[Any]:
        try:
            return self._preprocessing.read_image(base64.b64decode(text, validate=True))
        except (ImageError, binascii.Error, TypeError, ValueError) as error:
            reason = str(error) if isinstance(error, ImageError) else "is not a base64-encoded file"
            raise MlflowException(f"Row {row}: {IMAGE} {reason}.", error_code=INVALID_PARAMETER_VALUE) from None


def _encode_mask(labels: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(labels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")
