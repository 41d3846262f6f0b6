"""The family `smp`: every architecture that smp exports, and what names and sizes are answered."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

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
from pipeline.params.model import ARCHITECTURES, PRETRAINED, SmpModel

# From smp itself and not from our list, so that an architecture that smp gains turns up here.
EXPORTED = [item.__name__ for item in segmentation_models_pytorch.MODEL_ARCHITECTURES_MAPPING.values()]
# Parameters that smp builds and its forward pass never reaches; the optimizer leaves them as they are.
UNREACHED = {
    "PSPNet": ("encoder.layer3.", "encoder.layer4."),  # it reads the encoder's maps down to an eighth
    "DPT": ("encoder.model.norm.",),  # it reads what the blocks give, before the last normalisation
}


def small(architecture: str, encoder: str = "test_resnet") -> SmpModel:
    """On timm's smallest encoder, or another one; DPT on its smallest vision transformer."""
    encoder = "test_vit" if architecture == "DPT" else encoder
    return SmpModel.model_validate(
        {"family": "smp", "architecture": architecture, "encoder": encoder, "pretrained": False}
    )


def side(model: SmpModel) -> int:
    """A size that leaves more than a pixel behind five halvings, and that the model takes."""
    return max(64, model.smallest_size)


def built(model: SmpModel, channels: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return build_network(model, channels, classes=3).to(memory_format=torch.channels_last)


def one_step(network: nn.Module, size: int, precision: Literal["float32", "bfloat16"]) -> Tensor:
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


def test_the_architectures_are_those_that_smp_exports() -> None:
    assert sorted(ARCHITECTURES) == sorted(EXPORTED)
    assert all(hasattr(segmentation_models_pytorch, name) for name in ARCHITECTURES)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("architecture", EXPORTED)
def test_a_step_reaches_every_parameter(architecture: str, precision: Literal["float32", "bfloat16"]) -> None:
    model = small(architecture, "resnet18")
    network = built(model)
    assert torch.isfinite(one_step(network, side(model), precision))
    # A bias in front of a batch normalisation cancels out: its gradient is rounding, and may be 0.
    without = [
        name
        for name, weight in network[1].named_parameters()
        if weight.grad is None or not (weight.grad.any() or name.endswith(".bias"))
    ]
    assert all(weight.requires_grad for weight in network.parameters())
    unreached = UNREACHED.get(architecture, ())
    assert [name for name in without if not name.startswith(unreached or "-")] == []
    assert all(any(name.startswith(part) for name in without) for part in unreached)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("architecture", EXPORTED)
def test_weights_survive_safetensors(architecture: str, channels: int, tmp_path: Path) -> None:
    model = small(architecture)
    first, second = built(model, channels).eval(), built(model, channels).eval()
    with torch.no_grad():
        for weight in second.parameters():
            weight.zero_()
    save_file({name: value.contiguous() for name, value in first.state_dict().items()}, tmp_path / "weights")
    second.load_state_dict(load_file(tmp_path / "weights"))
    images = torch.rand(2, channels, side(model), side(model))
    with torch.inference_mode():
        logits = first(images)
        assert logits.shape == (2, 3, *images.shape[2:])
        assert torch.equal(logits, second(images))


@pytest.mark.parametrize("architecture", EXPORTED)
def test_sizes_that_fit_are_taken_and_others_are_not(architecture: str) -> None:
    model = small(architecture)
    network = built(model).eval()
    fits = model.smallest_size + model.size_multiple
    with torch.no_grad():
        assert network(torch.rand(1, 3, fits, fits)).shape == (1, 3, fits, fits)
        if architecture != "Unet":  # which stretches its maps
            with pytest.raises(RuntimeError):
                network(torch.rand(1, 3, fits + model.size_multiple // 2, fits))


@pytest.mark.parametrize("architecture", EXPORTED)
def test_the_seed_decides(architecture: str) -> None:
    model = small(architecture)
    first = built(model)
    loss = one_step(first, side(model), "float32")  # which draws what dropout blanks
    second = built(model)
    assert torch.equal(loss, one_step(second, side(model), "float32"))
    ours, theirs = first.state_dict(), second.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("encoder", PRETRAINED)
@pytest.mark.parametrize("architecture", [name for name in EXPORTED if name != "DPT"])
def test_pretrained_encoders_suit_every_architecture_at_its_smallest_size(architecture: str, encoder: str) -> None:
    """What `pipeline params` takes for granted without trying it; batch normalisation sees single pixels here."""
    model = SmpModel.model_validate(
        {"family": "smp", "architecture": architecture, "encoder": encoder, "pretrained": True}
    )
    assert model.smallest_size % model.size_multiple == 0
    images = torch.rand(2, 3, model.smallest_size, model.smallest_size + model.size_multiple)
    with torch.no_grad():
        assert built(model).train()(images).shape == (2, 3, *images.shape[2:])


@pytest.mark.parametrize(
    ("encoder", "architecture", "name"),
    [
        ("resnet34", "Unet", "resnet34"),  # both know it: smp's own
        ("tu-resnet34", "Unet", "tu-resnet34"),
        ("tf_efficientnet_lite0", "Unet", "tu-tf_efficientnet_lite0"),
        ("tu-tf_efficientnet_lite0", "Unet", "tu-tf_efficientnet_lite0"),
        ("vit_tiny_patch16_224.augreg_in21k", "DPT", "tu-vit_tiny_patch16_224.augreg_in21k"),
        ("mobilenet_v2", "FPN", "mobilenet_v2"),
        ("resnet34", "DPT", "tu-resnet34"),  # which DPT then refuses in words of its own
    ],
)
def test_an_encoder_by_name(encoder: str, architecture: str, name: str) -> None:
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
def test_an_unknown_encoder_is_answered_with_the_nearest(encoder: str, hint: str) -> None:
    with pytest.raises(PipelineError, match=r"^model\.encoder: .*" + hint) as error:
        resolve_encoder_name(encoder, "Unet")
    assert repr(encoder)[1:-1] in str(error.value)


@pytest.mark.parametrize(
    ("architecture", "encoder", "said"),
    [
        ("DPT", "resnet18", "a vision transformer such as vit_tiny_patch16_224"),
        ("DeepLabV3Plus", "densenet121", "do not support dilated mode"),
        ("Linknet", "mit_b0", "not supported for Linknet"),
        ("Unet", "tu-resnet18.nonsense", "nonsense"),
    ],
)
def test_an_encoder_that_an_architecture_cannot_stand_on(architecture: str, encoder: str, said: str) -> None:
    model = SmpModel.model_validate(
        {"family": "smp", "architecture": architecture, "encoder": encoder, "pretrained": False}
    )
    with pytest.raises(PipelineError, match=rf"^model\.encoder: {architecture} cannot use {encoder}: ") as error:
        built(model)
    assert said in str(error.value)


@pytest.mark.parametrize(("name", "hint"), [("unet", "Unet"), ("FPM", "FPN"), ("deeplab", "DeepLabV3"), (3, None)])
def test_an_unknown_architecture_is_answered_with_the_nearest(name: object, hint: str | None) -> None:
    section = {"family": "smp", "architecture": name, "encoder": "resnet18", "pretrained": False}
    with pytest.raises(PipelineError, match=r"^model\.architecture: must be one of 'Unet', 'UnetPlusPlus', ") as error:
        validate(SmpModel, section, "model")
    assert f"but is {name!r}{f'; did you mean {hint}?' if hint else '.'}" in str(error.value)


@pytest.mark.parametrize("architecture", EXPORTED)
def test_dropout_and_dropped_paths_work_in_training_alone(architecture: str) -> None:
    base = small(architecture, "test_efficientnet")
    regular = built(base.model_copy(update={"dropout": 0.5, "drop_path": 0.5}))
    images = torch.rand(2, 3, side(base), side(base)).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        regular.eval()
        assert torch.equal(regular(images), regular(images))
        regular.train()
        assert not torch.equal(regular(images), regular(images))


def test_an_encoder_that_drops_no_paths_is_refused_with_the_key() -> None:
    model = SmpModel.model_validate(
        {"family": "smp", "architecture": "Unet", "encoder": "resnet18", "pretrained": False, "drop_path": 0.1}
    )
    with pytest.raises(PipelineError, match=r"^model\.drop_path: must be 0\.0 for resnet18, but is 0\.1"):
        built(model)


def test_weights_with_dropout_go_back_where_they_were(tmp_path: Path) -> None:
    model = small("Unet", "test_efficientnet").model_copy(update={"dropout": 0.3, "drop_path": 0.2})
    first = built(model)
    save_file({name: tensor.contiguous() for name, tensor in first.state_dict().items()}, tmp_path / "w.safetensors")
    torch.manual_seed(7)
    second = build_network(model, 3, classes=3)
    second.load_state_dict(load_file(tmp_path / "w.safetensors"))
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(second.eval()(images), first.eval()(images), rtol=1e-4, atol=1e-5)
