"""Fetching from a local hub: success, interruptions, refusals, wrong content, and no network."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from huggingface_hub import constants

from pipeline.artifacts.weights_folder import WeightsFolder
from pipeline.errors import PipelineError
from pipeline.models.initial_weights import find_cached
from pipeline.weights.fetch import fetch_weights
from pipeline.weights.sources import find_source
from tests.servers import find_free_port
from tests.weights.conftest import CHUNK, CONFIG, SMP, TIMM, use_hub
from tests.weights.hub_server import Hub, Repository


def find_repository(hub: Hub, encoder: str) -> Repository:
    return hub.repositories[find_source(encoder).repository]


def list_cache() -> list[str]:
    """List the contents in the hub's cache, complete or not."""
    return [path.name for path in Path(constants.HF_HUB_CACHE).rglob("*") if path.is_file() and "blobs" in path.parts]


def get_error(folder: WeightsFolder, encoder: str = TIMM) -> str:
    """Return the error of fetching, which leaves no content in the cache and nothing in the index."""
    with pytest.raises(PipelineError) as error:
        fetch_weights(encoder, "Unet", folder)
    assert folder.read_index() == {}
    assert list_cache() == []
    return str(error.value)


def test_fetch_of_smp_encoder_records_revision_hash_license_and_statistics(
    hub: Hub, folder: WeightsFolder, published: dict[str, bytes]
) -> None:
    found, is_new = fetch_weights(SMP, "Unet", folder)
    assert is_new
    assert (found.library, found.repository, found.revision) == (
        "smp", "smp-hub/resnet18.imagenet", "3f2325ff978283d47aa6a1d6878ca20565622683",
    )  # fmt: skip
    assert found.sha256 == hashlib.sha256(published[SMP]).hexdigest()
    assert (found.bytes, found.license) == (len(published[SMP]), "mit")
    assert (list(found.mean), list(found.std)) == (CONFIG["mean"], CONFIG["std"])
    assert folder.read_index() == {SMP: found}
    path = find_cached(found)
    assert path is not None
    assert path.read_bytes() == published[SMP]


def test_fetch_of_timm_encoder_pins_the_newest_revision(hub: Hub, folder: WeightsFolder) -> None:
    found, _ = fetch_weights(f"tu-{TIMM}", "Unet", folder)
    repository = find_repository(hub, TIMM)
    assert (found.library, found.revision, found.license) == ("timm", repository.commit, "apache-2.0")
    assert (found.mean, found.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert folder.find_hub_file(TIMM) == folder.find_hub_file(f"tu-{TIMM}") == found


def test_repeated_fetch_sends_no_request(hub: Hub, folder: WeightsFolder) -> None:
    first, _ = fetch_weights(TIMM, "Unet", folder)
    hub.requests.clear()
    assert fetch_weights(TIMM, "Unet", folder) == (first, False)
    assert hub.requests == []


def test_pinned_weights_are_fetched_at_their_revision(
    hub: Hub, folder: WeightsFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = fetch_weights(TIMM, "Unet", folder)
    repository = find_repository(hub, TIMM)
    use_hub(hub.url, tmp_path / "cache of another machine", monkeypatch)
    assert fetch_weights(TIMM, "Unet", folder) == (first, True)
    repository.commit = "f" * 40  # the old revision is gone
    use_hub(hub.url, tmp_path / "third machine", monkeypatch)
    with pytest.raises(PipelineError, match=r"no longer has the pinned revision\. Remove the encoder from weights/hub"):
        fetch_weights(TIMM, "Unet", folder)


def test_interrupted_download_is_resumed(hub: Hub, folder: WeightsFolder, published: dict[str, bytes]) -> None:
    hub.cuts = [len(published[TIMM]) // 2]
    found, _ = fetch_weights(TIMM, "Unet", folder)
    assert found.sha256 == hashlib.sha256(published[TIMM]).hexdigest()
    assert hub.requests[-1].endswith(f"model.safetensors bytes={len(published[TIMM]) // 2 // CHUNK * CHUNK}-")


def test_download_that_cannot_be_resumed_leaves_nothing(
    hub: Hub, folder: WeightsFolder, published: dict[str, bytes]
) -> None:
    hub.cuts, hub.status_after_cut = [len(published[TIMM]) // 2], 503
    assert "the server answered HTTP 503. Nothing was stored. Wait, then run the same command again" in get_error(
        folder
    )
    hub.status_after_cut = 206
    assert fetch_weights(TIMM, "Unet", folder)[1]


def test_wrong_content_is_removed(hub: Hub, folder: WeightsFolder) -> None:
    find_repository(hub, TIMM).announced["model.safetensors"] = "0" * 64
    assert f"but {'0' * 64} is expected. The file was removed." in get_error(folder)


def test_content_other_than_pinned_is_removed(
    hub: Hub, folder: WeightsFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = fetch_weights(TIMM, "Unet", folder)
    find_repository(hub, TIMM).files["model.safetensors"] += b"changed"
    use_hub(hub.url, tmp_path / "another", monkeypatch)
    with pytest.raises(PipelineError, match=f"but {first.sha256} is expected"):
        fetch_weights(TIMM, "Unet", folder)
    assert folder.read_index() == {TIMM: first}
    assert list_cache() == []


def test_damaged_cache_is_fetched_again(hub: Hub, folder: WeightsFolder, published: dict[str, bytes]) -> None:
    found, _ = fetch_weights(TIMM, "Unet", folder)
    path = find_cached(found)
    assert path is not None
    path.resolve().write_bytes(b"damaged")
    assert fetch_weights(TIMM, "Unet", folder) == (found, True)
    assert path.read_bytes() == published[TIMM]


@pytest.mark.parametrize("status", [401, 403])
def test_gated_repository_is_reported_with_login(hub: Hub, folder: WeightsFolder, status: int) -> None:
    repository = find_repository(hub, TIMM)
    repository.file_status, repository.error_code = status, "GatedRepo"
    assert "is gated. Accept its conditions on that page, log in with `hf auth login`" in get_error(folder)


def test_unknown_repository_is_reported(hub: Hub, folder: WeightsFolder) -> None:
    hub.repositories.clear()
    assert "timm/test_resnet.r160_in1k does not exist or is private" in get_error(folder)


def test_repository_without_known_files_is_reported(hub: Hub, folder: WeightsFolder) -> None:
    find_repository(hub, TIMM).files = {"flax_model.msgpack": b"1"}
    assert "its files are flax_model.msgpack; expected model.safetensors or pytorch_model.bin" in get_error(folder)


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (b'{"mean": [0.5, 0.5, 0.5]}', "has no mean and standard deviation"),
        (b"<html>", "has no mean and standard deviation"),
        (b'{"mean": [1, 1, 1], "std": [1, 1, 1], "input_space": "BGR"}', "the weights expect BGR images"),
    ],
)
def test_unknown_normalization_is_refused(hub: Hub, folder: WeightsFolder, config: bytes, problem: str) -> None:
    find_repository(hub, SMP).files["config.json"] = config
    with pytest.raises(PipelineError, match=problem):
        fetch_weights(SMP, "Unet", folder)
    assert folder.read_index() == {}


def test_unreachable_hub_is_reported(folder: WeightsFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_hub(f"http://127.0.0.1:{find_free_port()}", tmp_path / "cache", monkeypatch)
    error = get_error(folder)
    assert "cannot be reached (ConnectError). Nothing was stored. Check the network, proxy and HF_ENDPOINT" in error


def test_offline_mode_is_reported(hub: Hub, folder: WeightsFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    try:
        assert "HF_HUB_OFFLINE is set, which forbids downloads" in get_error(folder)
    finally:
        monkeypatch.undo()


def test_cache_that_cannot_be_written_is_reported(
    hub: Hub, folder: WeightsFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Not even root may create folders there.
    monkeypatch.setattr(constants, "HF_HUB_CACHE", "/sys/kernel/cache")
    error = get_error(folder)
    assert error.startswith("/sys/kernel/cache: ")
    assert "Make the cache writable, or set HF_HUB_CACHE to another folder" in error


def test_encoder_without_weights_on_the_hub_is_reported(hub: Hub, folder: WeightsFolder) -> None:
    assert "timm publishes no weights for it" in get_error(folder, "gcvit_xxtiny")
    assert "did you mean" in get_error(folder, "resnet181")


def test_damaged_index_is_reported(folder: WeightsFolder) -> None:
    folder.index_file.parent.mkdir()
    folder.index_file.write_text("{")
    with pytest.raises(PipelineError, match=r"weights/hub\.json cannot be read .*git checkout weights/hub\.json"):
        folder.read_index()


def test_names_of_both_libraries_are_kept_apart(folder: WeightsFolder, hub: Hub) -> None:
    own, _ = fetch_weights(SMP, "Unet", folder)
    assert folder.find_hub_file(f"tu-{SMP}") is None
    assert folder.find_hub_file(SMP, timm_only=True) is None
    assert folder.find_hub_file(SMP) == own
    assert find_source(f"tu-{SMP}").encoder == f"tu-{SMP}"
