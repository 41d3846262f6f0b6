"""The encoders with weights from pip: every tensor finds its place, they see animals, and no hub is asked."""

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
from pipeline.models.smp import CLASSIFIER, FILES, build_smp_network, load_imagenet_weights
from pipeline.params.model import PRETRAINED, SmpModel

ANIMALS = Path(__file__).parents[2] / "data/sample/animals"
# ImageNet's classes, by number, of four of the bundled cut-outs that are among its thousand.
IMAGENET = {"badger": 362, "bear": 294, "beaver": 337, "bison": 347}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a network connection was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def lite0(pretrained: bool, channels: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return build_smp_network(unet("tf_efficientnet_lite0", pretrained), channels, 3)


def encoder(name: str) -> nn.Module:
    network: nn.Module = build_smp_network(unet(name), 3, 3).encoder
    return network


def unet(encoder: str, pretrained: bool = True) -> SmpModel:
    return SmpModel(family="smp", architecture="Unet", encoder=encoder, pretrained=pretrained)


def photograph(name: str) -> Tensor:
    """A cut-out on even grey, 1 x 3 x 160 x 160, in -1..1."""
    cut_out = Image.open(ANIMALS / f"{name}.webp").convert("RGBA")
    picture = Image.new("RGBA", cut_out.size, (128, 140, 120, 255))
    picture.alpha_composite(cut_out)
    pixels = np.asarray(picture.convert("RGB").resize((160, 160)), dtype=np.float32)
    return torch.from_numpy(pixels / 255).permute(2, 0, 1)[None] * 2 - 1


def test_the_parameters_name_what_has_weights() -> None:
    assert tuple(FILES) == PRETRAINED


@pytest.mark.parametrize(("name", "tensors"), list(zip(PRETRAINED, (288, 378, 378), strict=True)))
def test_every_tensor_of_the_encoder_is_the_packages(name: str, tensors: int) -> None:
    expected = [value for key, value in load_imagenet_weights(name).items() if not key.startswith(CLASSIFIER)]
    filled = encoder(name).state_dict()
    assert len(filled) == len(expected) == tensors
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(filled.values(), expected, strict=True))


@pytest.mark.parametrize("name", PRETRAINED)
def test_the_order_is_right_since_the_whole_classifier_names_the_animals(name: str) -> None:
    """Equal shapes prove little where blocks repeat; a classifier filled in the same order must know what it sees."""
    classifier = timm.create_model(name, pretrained=False).eval()
    classifier.load_state_dict(dict(zip(classifier.state_dict(), load_imagenet_weights(name).values(), strict=True)))
    features = encoder(name).eval()
    with torch.inference_mode():
        for animal, number in IMAGENET.items():
            picture = photograph(animal)
            assert int(classifier(picture).argmax()) == number
            deepest = features(picture)[-1]
            torch.testing.assert_close(classifier.blocks(classifier.bn1(classifier.conv_stem(picture))), deepest)


def test_without_pretraining_the_weights_are_others_and_the_seed_decides() -> None:
    first, second, filled = (lite0(pretrained) for pretrained in (False, False, True))
    assert torch.equal(first.encoder.model.conv_stem.weight, second.encoder.model.conv_stem.weight)
    assert not torch.equal(first.encoder.model.conv_stem.weight, filled.encoder.model.conv_stem.weight)


def test_pretrained_weights_want_three_channels() -> None:
    with pytest.raises(PipelineError, match="these have 1; set pretrained: false"):
        lite0(pretrained=True, channels=1)


def test_the_network_normalises_as_the_weights_were_trained() -> None:
    model = SmpModel(family="smp", architecture="Unet", encoder="tf_efficientnet_lite0", pretrained=True)
    network = build_network(model, channels=3, classes=3).eval()
    image = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(network(image), network[1]((image - 0.5) / 0.5))
