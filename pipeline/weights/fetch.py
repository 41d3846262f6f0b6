"""Fetch weights from the Hugging Face hub to its cache, and pin them in `weights/hub.json`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from pipeline.artifacts.project import CACHE, Project
from pipeline.artifacts.weights_folder import SHORT, WEIGHTS, HubFile, WeightsFolder
from pipeline.errors import PipelineError
from pipeline.models.initial_weights import find_cached, hash_weights
from pipeline.weights.sources import HubSource, Statistics, find_source
from pipeline.wording import format_megabytes

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

FILES = ("model.safetensors", "pytorch_model.bin")  # in order of preference
CONFIG = "config.json"  # in repositories of smp; contains mean and standard deviation
SECONDS = 30  # timeout of requests


def fetch_weights(encoder: str, architecture: str, folder: WeightsFolder) -> tuple[HubFile, bool]:
    """Fetch the weights of an encoder unless the hub's cache has them, verify their hash, and record them in the index.

    Weights in the index keep their revision. Others are pinned to the revision that their library specifies, or to the
    newest one.

    Returns:
        The entry in the index, and whether a file was downloaded.

    Raises:
        PipelineError: The encoder has no weights on the hub, the hub cannot be reached or refuses the request, the
            cache cannot be written, or the file has an unexpected hash. A file with an unexpected hash is removed.
    """
    source = find_source(encoder, architecture)
    pinned = folder.find_hub_file(encoder, timm_only=architecture == "DPT")
    cached = find_cached(pinned) if pinned else None
    if pinned and cached and hash_weights(cached) == pinned.sha256:
        return pinned, False
    repository = pinned.repository if pinned else source.repository
    with _explain_errors(encoder, repository):
        fetched = _download(source, repository, pinned, replace=cached is not None)
    lock = Project().original_home / CACHE / "hub.lock"
    lock.parent.mkdir(exist_ok=True)
    with FileLock(lock):  # another command may fetch at the same time
        folder.add_hub_file(source.encoder, fetched)
    return fetched, True


def _download(source: HubSource, repository: str, pinned: HubFile | None, *, replace: bool) -> HubFile:
    from huggingface_hub import HfApi, hf_hub_download

    info = HfApi().model_info(
        repository, revision=pinned.revision if pinned else source.revision, files_metadata=True, timeout=SECONDS
    )
    files = {one.rfilename: one for one in info.siblings or ()}
    name = pinned.file if pinned else next((name for name in FILES if name in files), None)
    if name not in files or info.sha is None:
        raise PipelineError(
            f"{repository}: its files are {', '.join(files) or 'unknown'}; expected {' or '.join(FILES)}. Download "
            f"the weights manually, put them into {WEIGHTS}/, and name the file in model.pretrained."
        )
    path = Path(hf_hub_download(repository, name, revision=info.sha, force_download=replace))
    found, lfs = hash_weights(path), files[name].lfs
    expected = pinned.sha256 if pinned else lfs.sha256 if lfs else found
    if found != expected:
        _remove(path)
        raise PipelineError(
            f"{repository}: {name} has the SHA-256 {found}, but {expected} is expected. The file was removed. Run the "
            "same command again; if the hash stays the same, do not use the file."
        )
    statistics = source.statistics
    if statistics is None:
        statistics = _read_statistics(Path(hf_hub_download(repository, CONFIG, revision=info.sha)), repository)
    mean, std = statistics
    return HubFile(
        library=source.library,
        repository=repository,
        revision=info.sha,
        file=name,
        sha256=found,
        bytes=path.stat().st_size,
        license=source.license or _get_license(info),
        mean=mean,
        std=std,
    )


def _get_license(info: ModelInfo) -> str | None:
    card = info.card_data
    return getattr(card, "license_name", None) or getattr(card, "license", None)


def _read_statistics(config: Path, repository: str) -> tuple[Statistics, Statistics]:
    """Read the mean and standard deviation used to normalize images from the config file of smp's weights."""
    try:
        content = json.loads(config.read_text(encoding="utf-8"))
        mean, std = (tuple(map(float, content[key])) for key in ("mean", "std"))
        space, limits = content.get("input_space", "RGB"), list(content.get("input_range", [0, 1]))
    except (ValueError, KeyError, TypeError) as error:
        raise PipelineError(
            f"{repository}: {CONFIG} has no mean and standard deviation ({type(error).__name__}: {error}), so the "
            "normalization of images for these weights is unknown. Choose another encoder."
        ) from None
    if len(mean) != len(std) or len(mean) != 3 or space != "RGB" or limits != [0, 1]:
        raise PipelineError(
            f"{repository}: the weights expect {space} images in {limits}, with {len(mean)} means; only RGB in [0, 1] "
            "is supported. Choose another encoder."
        )
    return mean, std


def _remove(path: Path) -> None:
    """Remove a file from the hub's cache: the link in a snapshot, and the content that it points to."""
    content = path.resolve()
    path.unlink(missing_ok=True)
    content.unlink(missing_ok=True)


@contextlib.contextmanager
def _explain_errors(encoder: str, repository: str) -> Iterator[None]:
    """Convert errors of the hub, the network and the cache to `PipelineError`."""
    import httpx2
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    where = f"{encoder}: {constants.ENDPOINT}/{repository}"
    again = "then run the same command again"
    try:
        yield
    except GatedRepoError:
        raise PipelineError(
            f"{where} is gated. Accept its conditions on that page, log in with `hf auth login` (or set HF_TOKEN), "
            f"{again}."
        ) from None
    except RepositoryNotFoundError:
        raise PipelineError(
            f"{where} does not exist or is private. Check the name; if it is private, log in with `hf auth login`, "
            f"{again}."
        ) from None
    except RevisionNotFoundError:
        raise PipelineError(
            f"{where} no longer has the pinned revision. Remove the encoder from {WEIGHTS / WeightsFolder.INDEX} to "
            f"pin another one, {again}; runs with the old weights are then trained again."
        ) from None
    except OfflineModeIsEnabled:
        raise PipelineError(f"{where}: HF_HUB_OFFLINE is set, which forbids downloads. Unset it, {again}.") from None
    except HfHubHTTPError as error:
        status = f"HTTP {error.response.status_code}" if error.response is not None else type(error).__name__
        raise PipelineError(f"{where}: the server answered {status}. Nothing was stored. Wait, {again}.") from None
    except (httpx2.HTTPError, LocalEntryNotFoundError, ConnectionError, TimeoutError) as error:
        raise PipelineError(
            f"{where} cannot be reached ({type(error.__cause__ or error).__name__}). Nothing was stored. Check the "
            f"network, proxy and HF_ENDPOINT, {again}. On an offline machine, copy the cache from another machine: "
            f"{constants.HF_HUB_CACHE}"
        ) from None
    except OSError as error:
        raise PipelineError(
            f"{error.filename or constants.HF_HUB_CACHE}: {error.strerror or error}. Make the cache writable, or set "
            f"HF_HUB_CACHE to another folder, {again}."
        ) from None


def describe_fetched(encoder: str, fetched: HubFile, *, is_new: bool) -> str:
    """Describe fetched weights in one line."""
    how = "fetched" if is_new else "already in the cache"
    return (
        f"{encoder}: {how}, {fetched.repository}@{fetched.revision[:SHORT]}, {format_megabytes(fetched.bytes)}, "
        f"license {fetched.license or 'unknown'}, SHA-256 {fetched.sha256[:SHORT]}"
    )
