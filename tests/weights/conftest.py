"""A hub with the weights of small encoders, and a project whose cache of the hub is empty."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save
from torch import nn

from pipeline.artifacts.weights_folder import WeightsFolder
from pipeline.models.smp import build_smp_network
from pipeline.params.model import SmpModel
from pipeline.weights.sources import find_source
from tests.weights.hub_server import Hub, Repository, serve_hub

SMP, TIMM = "resnet18", "test_resnet"  # the second one has the ImageNet statistics of timm's small models: 0.5
CHUNK = 4096  # bytes; a resumed download starts after the last complete one
CONFIG = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "input_space": "RGB", "input_range": [0, 1]}


def to_bytes(network: nn.Module) -> bytes:
    return save({name: tensor.contiguous() for name, tensor in network.state_dict().items()})


@pytest.fixture(scope="session")
def published() -> dict[str, bytes]:
    """Random weights in the files that smp and timm publish, by encoder."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model = SmpModel(family="smp", architecture="Unet", encoder=SMP, pretrained=False)
        return {
            SMP: to_bytes(build_smp_network(model, 3, 2).get_submodule("encoder")),
            TIMM: to_bytes(timm.create_model(TIMM)),
            "test_vit": to_bytes(timm.create_model("test_vit")),
        }


@pytest.fixture
def hub(published: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with these weights, which the library uses with an empty cache."""
    with serve_hub() as hub:
        for encoder, content in published.items():
            source = find_source(encoder, "DPT" if "vit" in encoder else "Unet")
            files = {"config.json": json.dumps(CONFIG).encode(), "model.safetensors": content}
            repository = Repository(files, "mit")
            repository.commit = source.revision or repository.commit
            hub.repositories[source.repository] = repository
        use_hub(hub.url, tmp_path / "cache", monkeypatch)
        yield hub


def use_hub(url: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set what the environment variables HF_ENDPOINT and HF_HUB_CACHE would set before the library is imported."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", CHUNK)  # 10 MB, more than these files have
    huggingface_hub.close_session()  # it keeps connections and the proxies of the environment


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WeightsFolder:
    """The folder `weights/` of an empty project, which is the current folder."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    return WeightsFolder(home)
