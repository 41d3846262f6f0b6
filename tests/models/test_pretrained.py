"""Pretrained encoders: weights from pip packages are assigned correctly, without network access."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import Tensor, nn

from pipeline.errors import PipelineError
from pipeline.models.factory import build_network
from pipeline.models.initial_weights import PACKAGES
from pipeline.models.smp import CLASSIFIER, load_packaged_weights
from pipeline.params.model import PACKAGED, SmpModel

ANIMALS = Path(__file__).parents[2] / "data/sample/animals"
# ImageNet's class indices of four bundled cut-outs.
IMAGENET_CLASSES = {"badger": 362, "bear": 294, "beaver": 337, "bison": 347}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a network connection was attempted")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def build_lite0(pretrained: bool, channels: int = 3) -> nn.Module:
    torch.manual_seed(0)
    network: nn.Module = build_network(create_model("tf_efficientnet_lite0", pretrained), channels, 3)[1]
    return network


def build_encoder(name: str) -> nn.Module:
    return build_network(create_model(name), 3, 3)[1].get_submodule("encoder")


def create_model(encoder: str, pretrained: bool = True) -> SmpModel:
    return SmpModel(family="smp", architecture="Unet", encoder=encoder, pretrained=pretrained)


def load_image(name: str) -> Tensor:
    """Load a cut-out on a uniform background as a 1 x 3 x 160 x 160 tensor in -1..1."""
    foreground = Image.open(ANIMALS / f"{name}.webp").convert("RGBA")
    image = Image.new("RGBA", foreground.size, (128, 140, 120, 255))
    image.alpha_composite(foreground)
    pixels = np.asarray(image.convert("RGB").resize((160, 160)), dtype=np.float32)
    return torch.from_numpy(pixels / 255).permute(2, 0, 1)[None] * 2 - 1


def test_every_pretrained_encoder_has_a_weight_file() -> None:
    assert tuple(PACKAGES) == PACKAGED


@pytest.mark.parametrize(("name", "tensors"), list(zip(PACKAGED, (288, 378, 378), strict=True)))
def test_encoder_has_every_tensor_of_the_package(name: str, tensors: int) -> None:
    expected = [value for key, value in load_packaged_weights(name).items() if not key.startswith(CLASSIFIER)]
    filled = build_encoder(name).state_dict()
    assert len(filled) == len(expected) == tensors
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(filled.values(), expected, strict=True))


@pytest.mark.parametrize("name", PACKAGED)
def test_classifier_with_tensors_in_this_order_recognizes_animals(name: str) -> None:
    """Repeated blocks have equal shapes, so only a working classifier proves the order of the tensors."""
    classifier = timm.create_model(name, pretrained=False).eval()
    classifier.load_state_dict(dict(zip(classifier.state_dict(), load_packaged_weights(name).values(), strict=True)))
    encoder = build_encoder(name).eval()
    with torch.inference_mode():
        for animal, class_index in IMAGENET_CLASSES.items():
            image = load_image(animal)
            assert int(classifier(image).argmax()) == class_index
            deepest = encoder(image)[-1]
            torch.testing.assert_close(classifier.blocks(classifier.bn1(classifier.conv_stem(image))), deepest)


def test_weights_without_pretraining_depend_on_the_seed() -> None:
    first, second, filled = (build_lite0(pretrained) for pretrained in (False, False, True))
    assert torch.equal(first.encoder.model.conv_stem.weight, second.encoder.model.conv_stem.weight)
    assert not torch.equal(first.encoder.model.conv_stem.weight, filled.encoder.model.conv_stem.weight)


def test_pretrained_weights_need_three_channels() -> None:
    with pytest.raises(PipelineError, match="the data has 1; set pretrained: false"):
        build_lite0(pretrained=True, channels=1)


def test_network_normalizes_as_in_pretraining() -> None:
    model = SmpModel(family="smp", architecture="Unet", encoder="tf_efficientnet_lite0", pretrained=True)
    network = build_network(model, channels=3, classes=3).eval()
    image = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(network(image), network[1]((image - 0.5) / 0.5))
