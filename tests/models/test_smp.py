"""The model family `smp`: every architecture that smp exports, and errors in names and sizes."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Literal, get_args

import pytest
import segmentation_models_pytorch
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pipeline.errors import PipelineError
from pipeline.models.factory import build_network
from pipeline.models.losses import cross_entropy
from pipeline.models.precision import autocast_context
from pipeline.models.smp import resolve_encoder_name
from pipeline.params import validate
from pipeline.params.model import PACKAGED, ArchitectureName, SmpModel, compute_smallest_size

# From smp and not from our list, to detect new architectures.
ARCHITECTURES = get_args(ArchitectureName)
EXPORTED = [item.__name__ for item in segmentation_models_pytorch.MODEL_ARCHITECTURES_MAPPING.values()]
# Parameters that the forward pass never uses; the optimizer does not change them.
UNUSED = {
    "PSPNet": ("encoder.layer3.", "encoder.layer4."),  # uses feature maps down to 1/8 of the size
    "DPT": ("encoder.model.norm.",),  # uses the blocks' outputs before the last normalization
}


def create_model(architecture: str, encoder: str = "test_resnet") -> SmpModel:
    """Create a model with timm's smallest encoder, or its smallest vision transformer for DPT."""
    encoder = "test_vit" if architecture == "DPT" else encoder
    return SmpModel.model_validate(
        {"family": "smp", "architecture": architecture, "encoder": encoder, "pretrained": False}
    )


def find_image_size(model: SmpModel) -> int:
    """Find a valid image size that leaves more than one pixel after five downsamplings."""
    return max(64, compute_smallest_size(model))


def build(model: SmpModel, channels: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return build_network(model, channels, classes=3).to(memory_format=torch.channels_last)


def train_step(network: nn.Module, size: int, precision: Literal["float32", "bfloat16"]) -> Tensor:
    random = torch.Generator().manual_seed(1)
    images = torch.rand(2, 3, size, size, generator=random).contiguous(memory_format=torch.channels_last)
    masks = torch.randint(0, 3, (2, size, size), generator=random)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
    with autocast_context(precision, torch.device("cpu")):
        logits = network.train()(images)
    loss = cross_entropy(logits, masks)
    loss.backward()
    optimizer.step()
    return loss.detach()


def test_architectures_are_those_that_smp_exports() -> None:
    assert sorted(ARCHITECTURES) == sorted(EXPORTED)
    assert all(hasattr(segmentation_models_pytorch, name) for name in ARCHITECTURES)


@pytest.mark.parametrize("architecture", EXPORTED)
def test_train_step_gives_every_parameter_a_gradient(architecture: str) -> None:
    model = create_model(architecture, "resnet18")
    network = build(model)
    assert all(weight.requires_grad for weight in network.parameters())
    unused = UNUSED.get(architecture, ())
    precisions: tuple[Literal["float32", "bfloat16"], ...] = ("float32", "bfloat16")
    for precision in precisions:
        network.zero_grad(set_to_none=True)
        assert torch.isfinite(train_step(network, find_image_size(model), precision)), precision
        # Batch normalization cancels a preceding bias: its gradient is rounding error and may be 0.
        without_gradient = [
            name
            for name, weight in network[1].named_parameters()
            if weight.grad is None or not (weight.grad.any() or name.endswith(".bias"))
        ]
        assert [name for name in without_gradient if not name.startswith(unused or "-")] == [], precision
        assert all(any(name.startswith(part) for name in without_gradient) for part in unused), precision


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("architecture", EXPORTED)
def test_safetensors_round_trip_keeps_weights(architecture: str, channels: int, tmp_path: Path) -> None:
    model = create_model(architecture)
    first = build(model, channels).eval()
    second = deepcopy(first)
    with torch.no_grad():
        for weight in second.parameters():
            weight.zero_()
    save_file({name: value.contiguous() for name, value in first.state_dict().items()}, tmp_path / "weights")
    second.load_state_dict(load_file(tmp_path / "weights"))
    images = torch.rand(2, channels, find_image_size(model), find_image_size(model))
    with torch.inference_mode():
        logits = first(images)
        assert logits.shape == (2, 3, *images.shape[2:])
        assert torch.equal(logits, second(images))


@pytest.mark.parametrize("architecture", EXPORTED)
def test_sizes_from_the_smallest_on_are_accepted(architecture: str) -> None:
    model = create_model(architecture)
    network = build(model).eval()
    smallest = compute_smallest_size(model)
    with torch.no_grad():
        for height in (smallest, smallest + model.size_multiple, smallest + model.size_multiple // 2):
            assert network(torch.rand(1, 3, height, smallest)).shape == (1, 3, height, smallest)


@pytest.mark.parametrize("architecture", EXPORTED)
def test_network_and_train_step_depend_only_on_the_seed(architecture: str) -> None:
    model = create_model(architecture)
    first = build(model)
    loss = train_step(first, find_image_size(model), "float32")  # draws the dropout masks
    second = build(model)
    assert torch.equal(loss, train_step(second, find_image_size(model), "float32"))
    ours, theirs = first.state_dict(), second.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("encoder", PACKAGED)
@pytest.mark.parametrize("architecture", [name for name in EXPORTED if name != "DPT"])
def test_pretrained_encoders_work_with_every_architecture_at_its_smallest_size(architecture: str, encoder: str) -> None:
    """`pipeline params` assumes this without building the networks; batch normalization gets single pixels here."""
    model = SmpModel.model_validate(
        {"family": "smp", "architecture": architecture, "encoder": encoder, "pretrained": True}
    )
    assert compute_smallest_size(model) % model.size_multiple == 0
    images = torch.rand(2, 3, compute_smallest_size(model), compute_smallest_size(model) + model.size_multiple)
    with torch.no_grad():
        assert build(model).train()(images).shape == (2, 3, *images.shape[2:])


@pytest.mark.parametrize(
    ("encoder", "architecture", "name"),
    [
        ("resnet34", "Unet", "resnet34"),  # smp and timm have it: smp's is used
        ("tu-resnet34", "Unet", "tu-resnet34"),
        ("tf_efficientnet_lite0", "Unet", "tu-tf_efficientnet_lite0"),
        ("tu-tf_efficientnet_lite0", "Unet", "tu-tf_efficientnet_lite0"),
        ("vit_tiny_patch16_224.augreg_in21k", "DPT", "tu-vit_tiny_patch16_224.augreg_in21k"),
        ("mobilenet_v2", "FPN", "mobilenet_v2"),
        ("resnet34", "DPT", "tu-resnet34"),  # DPT refuses it later
    ],
)
def test_encoder_name_is_resolved(encoder: str, architecture: str, name: str) -> None:
    assert resolve_encoder_name(encoder, architecture) == name


@pytest.mark.parametrize(
    ("encoder", "hint"),
    [
        ("resnet43", r"did you mean resnet34\?"),
        ("tu-efficientnet_b00", r"did you mean efficientnet_b0\?"),
        ("hf-hub:timm/resnet18", "neither smp nor timm"),
        ("####", "try resnet34, mobilenet_v2 or tf_efficientnet_lite0"),
    ],
)
def test_unknown_encoder_is_reported_with_the_closest_match(encoder: str, hint: str) -> None:
    with pytest.raises(PipelineError, match=r"^model\.encoder: .*" + hint) as error:
        resolve_encoder_name(encoder, "Unet")
    assert repr(encoder)[1:-1] in str(error.value)


@pytest.mark.parametrize(
    ("architecture", "encoder", "message"),
    [
        ("DPT", "resnet18", "a vision transformer such as vit_tiny_patch16_224"),
        ("DeepLabV3Plus", "densenet121", "do not support dilated mode"),
        ("Linknet", "mit_b0", "not supported for Linknet"),
        ("Unet", "tu-resnet18.nonsense", "nonsense"),
    ],
)
def test_encoder_that_does_not_suit_the_architecture_is_refused(architecture: str, encoder: str, message: str) -> None:
    model = SmpModel.model_validate(
        {"family": "smp", "architecture": architecture, "encoder": encoder, "pretrained": False}
    )
    with pytest.raises(PipelineError, match=rf"^model\.encoder: {architecture} cannot use {encoder}: ") as error:
        build(model)
    assert message in str(error.value)


@pytest.mark.parametrize(("name", "hint"), [("unet", "Unet"), ("FPM", "FPN"), ("deeplab", "DeepLabV3"), (3, None)])
def test_unknown_architecture_is_reported_with_the_closest_match(name: object, hint: str | None) -> None:
    section = {"family": "smp", "architecture": name, "encoder": "resnet18", "pretrained": False}
    with pytest.raises(PipelineError, match=r"^model\.architecture: must be one of 'Unet', 'UnetPlusPlus', ") as error:
        validate(SmpModel, section, "model")
    assert f"but is {name!r}{f'; did you mean {hint}?' if hint else '.'}" in str(error.value)


@pytest.mark.parametrize("architecture", EXPORTED)
def test_dropout_and_drop_path_are_active_in_training_only(architecture: str) -> None:
    base = create_model(architecture, "test_efficientnet")
    regular = build(base.model_copy(update={"dropout": 0.5, "drop_path": 0.5}))
    images = torch.rand(2, 3, find_image_size(base), find_image_size(base)).contiguous(
        memory_format=torch.channels_last
    )
    with torch.no_grad():
        regular.eval()
        assert torch.equal(regular(images), regular(images))
        regular.train()
        assert not torch.equal(regular(images), regular(images))


def test_drop_path_of_an_encoder_without_it_is_refused() -> None:
    model = SmpModel.model_validate(
        {"family": "smp", "architecture": "Unet", "encoder": "resnet18", "pretrained": False, "drop_path": 0.1}
    )
    with pytest.raises(PipelineError, match=r"^model\.drop_path: must be 0\.0 for resnet18, but is 0\.1"):
        build(model)


def test_safetensors_round_trip_keeps_weights_with_dropout(tmp_path: Path) -> None:
    model = create_model("Unet", "test_efficientnet").model_copy(update={"dropout": 0.3, "drop_path": 0.2})
    first = build(model)
    save_file({name: tensor.contiguous() for name, tensor in first.state_dict().items()}, tmp_path / "w.safetensors")
    torch.manual_seed(7)
    second = build_network(model, 3, classes=3)
    second.load_state_dict(load_file(tmp_path / "w.safetensors"))
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(second.eval()(images), first.eval()(images), rtol=1e-4, atol=1e-5)
