"""Write the model of a run, or of the ensemble, to a file."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts.project import EXPORTS, Project
from pipeline.atomic_io import require_writable, write_bytes
from pipeline.export.bioimageio_package import NETWORK, PackageCredits, package_for_bioimageio, require_bioimageio
from pipeline.export.metadata import EXAMPLE, create_metadata
from pipeline.export.usage_example import create_example
from pipeline.inference.trained_run import TrainedRun
from pipeline.params import Params
from pipeline.params.data.image_data import find_intensities
from pipeline.params.data.original_pixel import find_original_pixel
from pipeline.promote.evidence import collect_evidence, has_scores
from pipeline.promote.onnx_export import export_onnx, measure_agreement
from pipeline.volumes.slice_file import create_window
from pipeline.wording import format_megabytes, format_size, pluralize

ONNX, BIOIMAGEIO = "onnx", "bioimageio"  # formats
ENDINGS = {ONNX: ".onnx", BIOIMAGEIO: ".zip"}


@dataclass(frozen=True)
class ExportedModel:
    """A model that was written to a file."""

    file: Path
    file_format: str  # `ONNX` or `BIOIMAGEIO`
    run: str  # name of the run, or `ensemble of` and the names of its members
    agreement: float  # share of the validation pixels for which the file and the trained network predict the same class
    input_size: tuple[int, int]  # height and width in px
    channels: int
    class_names: tuple[str, ...]
    example: str  # Python code that segments an image with the file, or with the unpacked package
    notices: tuple[str, ...]  # sentences on what is missing

    def describe(self) -> str:
        """Describe the file, and how to use it."""
        classes = pluralize(len(self.class_names), "class", "classes")
        unpacked = ", after unpacking the file" if self.file_format == BIOIMAGEIO else ""
        lines = [
            f"{self.file}: {self.run}, {format_megabytes(self.file.stat().st_size)}, for inputs of "
            f"{format_size(self.input_size)} with {pluralize(self.channels, 'channel')} and {classes}. It predicts the "
            f"same class as the trained network for {self.agreement:.2%} of the validation pixels.",
            *self.notices,
            f"To segment an image{unpacked}:\n\n{self.example}",
        ]
        return "\n".join(lines)


def export_run(
    params: Params, run: str, file: Path | None, file_format: str = ONNX, license_id: str | None = None
) -> ExportedModel:
    """Write a run's network as an ONNX file that describes itself, or as a package that contains this file.

    Args:
        params: The content of `params.yaml`.
        run: Name of a run; `best` or `ensemble`, see `TrainedRun.load`.
        file: The file to write; None for `exports/<run>.onnx`, or `.zip` for a package.
        file_format: `ONNX` or `BIOIMAGEIO`.
        license_id: SPDX identifier of the package's license.

    Raises:
        PipelineError: The run cannot be read, its network cannot be exported, or the file cannot be written.
    """
    if file_format == BIOIMAGEIO:
        require_bioimageio(license_id)  # before the export, which takes seconds
    project = Project()
    trained = TrainedRun.load(params, run, project)
    file = file or EXPORTS / f"{trained.name}{ENDINGS[file_format]}"
    require_writable(file.parent, "--out")
    credit = PackageCredits.create(params, license_id)
    window = create_window(find_intensities(params.data))
    metadata = create_metadata(trained, find_original_pixel(params.data), window)
    metadata[EXAMPLE] = create_example(trained, Path(NETWORK if file_format == BIOIMAGEIO else file.name), window)
    validation = project.prepared.select_fold(trained.record.fold).open_split("validation")
    with tempfile.TemporaryDirectory() as folder:
        onnx = Path(folder) / "network.onnx"
        export_onnx(trained, onnx, metadata)
        agreement = measure_agreement(trained, onnx, validation)
        if file_format == BIOIMAGEIO:
            evidence = collect_evidence(project, trained) if has_scores(project, trained) else {}
            package_for_bioimageio(trained, onnx, validation, credit, evidence, window, file)
        else:
            write_bytes(file, onnx.read_bytes())
    return ExportedModel(
        file=file,
        file_format=file_format,
        run=trained.describe(),
        agreement=agreement,
        input_size=trained.input_size,
        channels=trained.preprocessing.channels,
        class_names=tuple(trained.data.class_names),
        example=create_example(trained, Path(NETWORK) if file_format == BIOIMAGEIO else file, window),
        notices=credit.list_missing() if file_format == BIOIMAGEIO else (),
    )
