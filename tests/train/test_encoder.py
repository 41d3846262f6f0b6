"""The encoder of a network: freezing it, and the learning rates of its layers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.errors import PipelineError
from pipeline.models.encoder import freeze_encoder_weights
from pipeline.models.factory import build_network
from pipeline.params import validate
from pipeline.params.model import SmpModel
from pipeline.params.section import merge_overrides
from pipeline.params.train import Train
from pipeline.train.encoder import find_encoder_layers, freeze_encoder
from pipeline.train.optimizers import create_optimizer
from tests.conftest import load_shipped_params


def create_settings(**changes: Any) -> Train:
    return validate(Train, merge_overrides(load_shipped_params()["train"], changes), "train")


def create_network(encoder: str, architecture: str = "Unet") -> nn.Module:
    model = {"family": "smp", "architecture": architecture, "encoder": encoder, "pretrained": False}
    return build_network(validate(SmpModel, model, "model"), 3, 2)


def take_step(network: nn.Module, settings: Train, *, is_frozen: bool) -> dict[str, Tensor]:
    """Take a step; return the state before it."""
    optimizer = create_optimizer(network, settings, 1e-2)
    network.train()
    freeze_encoder(network, optimizer, is_frozen=is_frozen)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network(torch.rand(2, 3, 32, 32)).square().mean().backward()
    optimizer.step()
    return before


@pytest.mark.parametrize("is_frozen", [True, False])
def test_frozen_encoder_keeps_weights_and_statistics(is_frozen: bool) -> None:
    network = create_network("resnet18")
    before = take_step(network, create_settings(), is_frozen=is_frozen)
    changed = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    encoder = {name for name in changed if name.startswith("1.encoder.")}
    assert changed - encoder
    assert bool(encoder) != is_frozen


def test_unfreezing_does_not_train_weights_that_a_user_froze() -> None:
    network = create_network("resnet18")
    frozen = next(weight for name, weight in network.named_parameters() if "encoder" in name).requires_grad_(False)
    optimizer = create_optimizer(network, create_settings(), 1e-2)
    for is_frozen in (True, False):
        freeze_encoder(network, optimizer, is_frozen=is_frozen)
        assert not frozen.requires_grad


@pytest.mark.parametrize(
    ("encoder", "architecture", "layers"),
    [("tu-vit_tiny_patch16_224", "DPT", 13), ("mit_b0", "Segformer", 12), ("tu-convnext_atto", "Unet", 16)],
)
def test_learning_rate_decays_from_layer_to_layer(encoder: str, architecture: str, layers: int) -> None:
    network = create_network(encoder, architecture)
    found = find_encoder_layers(network)
    assert set(found) == {name for name, _ in network.named_parameters() if name.startswith("1.encoder.")}
    assert set(found.values()) == set(range(layers))
    assert next(iter(found.values())) == layers - 1  # weights are listed from the first layer on

    settings = create_settings(encoder_lr_factor=0.5, encoder_layer_decay=0.8)
    rates = {
        id(weight): group["lr"]
        for group in create_optimizer(network, settings, 1e-2).param_groups
        for weight in group["params"]
    }
    for name, weight in network.named_parameters():
        expected = 1e-2 * (0.5 * 0.8 ** found[name] if name in found else 1)
        assert rates[id(weight)] == pytest.approx(expected)


def test_layers_of_a_convolutional_encoder_are_unknown() -> None:
    with pytest.raises(PipelineError, match=r"train\.encoder_layer_decay: must be 1\.0"):
        create_optimizer(create_network("resnet18"), create_settings(encoder_layer_decay=0.8), 1e-2)


def test_encoder_with_a_factor_of_0_is_not_in_the_optimizer() -> None:
    network = create_network("resnet18")
    freeze_encoder_weights(network)
    optimizer = create_optimizer(network, create_settings(encoder_lr_factor=0.0), 1e-2)
    trained = {id(weight) for group in optimizer.param_groups for weight in group["params"]}
    for name, weight in network.named_parameters():
        assert (id(weight) in trained) == weight.requires_grad == ("encoder" not in name)


def test_network_without_a_decoder_needs_a_factor_above_0() -> None:
    network = nn.ModuleDict({"encoder": nn.Conv2d(3, 2, 1)})
    with pytest.raises(PipelineError, match=r"train\.encoder_lr_factor: must be above 0"):
        freeze_encoder_weights(network)


@pytest.mark.parametrize(
    "setting",
    [
        {"freeze_encoder_epochs": 1},
        {"encoder_layer_decay": 0.8},
        {"encoder_lr_factor": 0.5},
        {"encoder_lr_factor": 0.0},
    ],
)
def test_settings_of_the_encoder_are_refused_without_one(setting: dict[str, Any]) -> None:
    (key,) = setting
    with pytest.raises(PipelineError, match=rf"train\.{key}: must be .* no trainable part named encoder"):
        create_optimizer(nn.Conv2d(3, 2, 1), create_settings(**setting), 1e-2)
