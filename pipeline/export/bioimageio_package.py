"""Write a model as a package for bioimage.io: a zip with the ONNX file, test arrays, cover and documentation.

https://github.com/bioimage-io/spec-bioimage-io
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

from pipeline.artifacts.prepared_data import Split
from pipeline.atomic_io import write_bytes
from pipeline.errors import PipelineError
from pipeline.export.metadata import get_max_value
from pipeline.export.readme import create_readme
from pipeline.imaging.to_rgb import to_rgb
from pipeline.imaging.windows import cut_window
from pipeline.inference.trained_run import TrainedRun
from pipeline.params import Params
from pipeline.predict.outputs import tint_classes
from pipeline.volumes.slice_file import IntensityWindow
from pipeline.wording import join_words

NETWORK = "network.onnx"  # file in the package
_MIN_NAME, _MAX_NAME = 5, 64  # characters of a model's name
_COVER_HEIGHT = 320  # px; the cover is twice as wide
_MAX_CLASSES = 12  # classes that the description names


@dataclass(frozen=True)
class PackageCredits:
    """Who made a model, and what others may do with it."""

    authors: tuple[str, ...]
    license: str | None  # SPDX identifier; None if it is not stated

    @classmethod
    def create(cls, params: Params, license_id: str | None) -> PackageCredits:
        """Take the authors from `report.author`, whose names are separated by commas, semicolons or "and"."""
        names = re.split(r"[,;]|\band\b", params.report.author)
        return cls(tuple(name.strip() for name in names if name.strip()), license_id)

    def list_missing(self) -> tuple[str, ...]:
        """List what bioimage.io requires in addition, as sentences."""
        author = "" if self.authors else "The package names no author: set report.author."
        license_ = "" if self.license else "The package states no license: add --license, such as CC-BY-4.0."
        return tuple(filter(None, (author, license_)))


def require_bioimageio(license_id: str | None) -> Any:
    """Import `bioimageio.spec`, and check a license.

    Raises:
        PipelineError: It is not installed, or does not know the license.
    """
    try:
        import bioimageio.spec
        from bioimageio.spec.generic.v0_3 import LicenseId
    except ModuleNotFoundError as error:
        raise PipelineError(
            f"--format bioimageio: the package {error.name} is not installed. Run pip install "
            f"'unet-learning-report[bioimageio]'"
        ) from None
    if license_id is not None:
        try:
            LicenseId(license_id)
        except ValueError:
            raise PipelineError(
                f"--license: '{license_id}' is not an SPDX identifier of a license, such as CC-BY-4.0 or "
                f"Apache-2.0; see https://spdx.org/licenses"
            ) from None
    return bioimageio.spec


def package_for_bioimageio(
    run: TrainedRun,
    onnx: Path,
    examples: Split,
    credit: PackageCredits,
    evidence: dict[str, str],
    window: IntensityWindow | None,
    target: Path,
) -> None:
    """Write the package of an exported network.

    Args:
        run: The run, or the ensemble.
        onnx: Its exported network.
        examples: Images; the first one is the test input and the cover.
        credit: Authors and license.
        evidence: Scores by name, for the documentation.
        window: Mapping of the intensities of slices or scenes to pixel values; None if they are used as they are.
        target: The zip file to write.

    Raises:
        PipelineError: `bioimageio.spec` is not installed, or rejects the package.
    """
    spec = require_bioimageio(credit.license)
    image = _cut_test_image(run, examples)
    tensor = np.ascontiguousarray(image.transpose(2, 0, 1)[None])
    session = onnxruntime.InferenceSession(str(onnx), providers=["CPUExecutionProvider"])
    scale = np.float32(1 / get_max_value(run.preprocessing))
    (probabilities,) = session.run(None, {"images": tensor.astype(np.float32) * scale})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "test_input.npy", tensor)
        np.save(folder / "test_output.npy", probabilities)
        _write_cover(folder / "cover.png", image, probabilities[0], run)
        (folder / "README.md").write_text(create_readme(run, evidence, window), encoding="utf-8")
        (folder / NETWORK).write_bytes(onnx.read_bytes())
        try:
            model = _describe(spec, run, credit, folder)
            spec.save_bioimageio_package(model, output_path=folder / "package.zip")
        except ValueError as error:  # also pydantic's ValidationError
            raise PipelineError(f"--format bioimageio: the package is not valid: {_shorten(error)}") from None
        write_bytes(target, (folder / "package.zip").read_bytes())


def _describe(spec: Any, run: TrainedRun, credit: PackageCredits, folder: Path) -> Any:
    """Create the description, which checks the files in the folder."""
    v0_5 = spec.model.v0_5
    height, width = run.input_size
    maximum = get_max_value(run.preprocessing)

    def refer(axis: str) -> Any:
        return v0_5.SizeReference(tensor_id=v0_5.TensorId("images"), axis_id=v0_5.AxisId(axis))

    def create_file(name: str) -> Any:
        return v0_5.FileDescr(source=folder / name)

    to_float = v0_5.EnsureDtypeDescr(kwargs=v0_5.EnsureDtypeKwargs(dtype="float32"))
    images = v0_5.InputTensorDescr(
        id=v0_5.TensorId("images"),
        description=f"{run.channel_names}, resized to the input size; see the documentation",
        axes=[
            v0_5.BatchAxis(),
            v0_5.ChannelAxis(channel_names=_name_channels(run)),
            v0_5.SpaceInputAxis(id=v0_5.AxisId("y"), size=height),
            v0_5.SpaceInputAxis(id=v0_5.AxisId("x"), size=width),
        ],
        data=v0_5.IntervalOrRatioDataDescr(type=f"uint{run.preprocessing.bits}", range=(0, maximum)),
        # bioimageio.core converts to the type of the test input after the last step, unless that is `ensure_dtype`.
        preprocessing=[to_float, v0_5.ScaleLinearDescr(kwargs=v0_5.ScaleLinearKwargs(gain=1 / maximum)), to_float],
        test_tensor=create_file("test_input.npy"),
    )
    probabilities = v0_5.OutputTensorDescr(
        id=v0_5.TensorId("probabilities"),
        description="Probability of each class",
        axes=[
            v0_5.BatchAxis(),
            v0_5.ChannelAxis(channel_names=run.data.class_names),
            v0_5.SpaceOutputAxis(id=v0_5.AxisId("y"), size=refer("y")),
            v0_5.SpaceOutputAxis(id=v0_5.AxisId("x"), size=refer("x")),
        ],
        data=v0_5.IntervalOrRatioDataDescr(type="float32", range=(0, 1)),
        test_tensor=create_file("test_output.npy"),
    )
    weights = v0_5.OnnxWeightsDescr(source=folder / NETWORK, opset_version=_read_opset_version(folder / NETWORK))
    classes = join_words(run.data.class_names, _MAX_CLASSES)
    return v0_5.ModelDescr(
        name=_create_name(run),
        description=f"Segments images into the classes {classes}.",
        authors=[v0_5.Author(name=name) for name in credit.authors],
        license=credit.license,
        documentation=create_file("README.md"),
        covers=[create_file("cover.png")],
        tags=["semantic-segmentation", "2d", "onnx"],
        inputs=[images],
        outputs=[probabilities],
        weights=v0_5.WeightsDescr(onnx=weights),
    )


def _create_name(run: TrainedRun) -> str:
    """Create a name of letters, digits, and the few other characters that the specification allows."""
    name = re.sub(r"[^A-Za-z0-9_+\- ()]+", " ", f"{run.name} {run.data.title}")
    name = " ".join(name.split())[:_MAX_NAME].strip()
    return name if len(name) >= _MIN_NAME else f"U-Net {name}"


def _name_channels(run: TrainedRun) -> list[str]:
    if run.scenes is not None and run.scenes.bands:
        return [band if isinstance(band, str) else f"band{band}" for band in run.scenes.bands]
    numbered = [f"channel{number}" for number in range(1, run.preprocessing.channels + 1)]
    return {"gray": ["gray"], "RGB": ["red", "green", "blue"]}.get(run.channel_names, numbered)


def _read_opset_version(path: Path) -> int:
    import onnx

    versions = onnx.load(path, load_external_data=False).opset_import
    return int(next(entry.version for entry in versions if entry.domain in ("", "ai.onnx")))


def _cut_test_image(run: TrainedRun, examples: Split) -> NDArray[Any]:
    """Return the first image, or its first tile, in the network's input size: H x W x channels."""
    height, width = run.input_size
    return cut_window(examples.images[0], (slice(0, height), slice(0, width)))


def _write_cover(path: Path, image: NDArray[Any], probabilities: NDArray[np.float32], run: TrainedRun) -> None:
    """Write the image next to the image with its predicted classes in color."""
    rgb = to_rgb(image)
    tinted = tint_classes(rgb, probabilities.argmax(axis=0).astype(np.uint8), run.data.classes)
    cover = Image.new("RGB", (2 * _COVER_HEIGHT, _COVER_HEIGHT), "white")
    for place, pixels in enumerate((rgb, tinted)):
        part = Image.fromarray(pixels)
        scale = _COVER_HEIGHT / max(part.size)
        part = part.resize((max(1, round(part.width * scale)), max(1, round(part.height * scale))))
        left = place * _COVER_HEIGHT + (_COVER_HEIGHT - part.width) // 2
        cover.paste(part, (left, (_COVER_HEIGHT - part.height) // 2))
    cover.save(path)


def _shorten(error: Exception) -> str:
    """Return the first lines of a message on one line."""
    return " ".join(str(error).split())[:400]
