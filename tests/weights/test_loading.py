"""Networks that start from weights of the hub, and from files: tensors, normalization, channels, and refusals."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
import timm
import torch
from safetensors.torch import load, save_file
from torch import Tensor, nn

from pipeline.artifacts.weights_folder import WeightsFolder
from pipeline.errors import PipelineError
from pipeline.models.factory import PaddedNetwork, build_network
from pipeline.models.initial_weights import find_cached
from pipeline.params.model import KerasPetsModel, SmpModel, UNetModel
from pipeline.weights.fetch import fetch_weights
from tests.weights.conftest import CONFIG, SMP, TIMM
from tests.weights.hub_server import Hub

FILE = "weights/file.safetensors"
UNET = {"family": "unet", "base_channels": 4, "depth": 2, "upsampling": "bilinear", "skip_connections": "add"}
IMAGENET = [CONFIG["mean"], CONFIG["std"]]
Save = Callable[[dict[str, Tensor]], str]


def create_model(encoder: str = SMP, pretrained: bool | str = True, architecture: str = "Unet") -> SmpModel:
    return SmpModel.model_validate(
        {"family": "smp", "architecture": architecture, "encoder": encoder, "pretrained": pretrained}
    )


def create_unet(pretrained: str | bool = FILE) -> UNetModel:
    return UNetModel.model_validate({**UNET, "norm": "batch", "dropout": 0.0, "pretrained": pretrained})


def build(model: SmpModel | UNetModel | KerasPetsModel, channels: int = 3, classes: int = 2) -> PaddedNetwork:
    torch.manual_seed(0)
    return build_network(model, channels, classes)


def get_encoder(network: PaddedNetwork) -> dict[str, Tensor]:
    return network[1].get_submodule("encoder").state_dict()


def get_statistics(network: PaddedNetwork) -> list[list[float]]:
    mean, std = network.normalize.mean, network.normalize.std
    assert mean is not None
    assert std is not None
    return [[round(value, 6) for value in tensor.flatten().tolist()] for tensor in (mean, std)]


def get_notes(network: PaddedNetwork) -> tuple[str, ...]:
    assert network.initial_weights is not None
    return network.initial_weights.notes


@pytest.fixture
def save(folder: WeightsFolder) -> Save:
    """Return a function that writes tensors to `FILE`."""

    def write(tensors: dict[str, Tensor]) -> str:
        folder.index_file.parent.mkdir(exist_ok=True)
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, FILE)
        return FILE

    return write


@pytest.fixture
def no_network(hub: Hub, folder: WeightsFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fetched weights of all encoders of the hub, and no network from then on."""
    for encoder, architecture in ((SMP, "Unet"), (TIMM, "Unet"), ("test_vit", "DPT")):
        fetch_weights(encoder, architecture, folder)

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a network connection was attempted")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("no_network")
def test_encoder_of_smp_has_the_published_tensors_and_statistics(published: dict[str, bytes]) -> None:
    network = build(create_model())
    expected = load(published[SMP])
    assert all(torch.equal(tensor, expected[name]) for name, tensor in get_encoder(network).items())
    assert get_statistics(network) == IMAGENET
    assert network.initial_weights is not None
    assert network.initial_weights.source == "smp-hub/resnet18.imagenet"
    assert network.initial_weights.notes == ()


@pytest.mark.usefixtures("no_network")
def test_encoder_of_timm_computes_the_features_of_the_classifier(published: dict[str, bytes]) -> None:
    network = build(create_model(TIMM)).eval()
    classifier = timm.create_model(TIMM).eval()
    classifier.load_state_dict(load(published[TIMM]))
    assert get_statistics(network) == [[0.5] * 3] * 2
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        expected = classifier.forward_features(images)
        torch.testing.assert_close(network[1].get_submodule("encoder")(images)[-1], expected)


@pytest.mark.usefixtures("no_network")
def test_vision_transformer_of_dpt_has_the_published_tensors(published: dict[str, bytes]) -> None:
    encoder = get_encoder(build(create_model("test_vit", architecture="DPT")))
    expected = load(published["test_vit"])
    assert torch.equal(encoder["model.blocks.0.attn.qkv.weight"], expected["blocks.0.attn.qkv.weight"])


@pytest.mark.usefixtures("no_network")
def test_pretrained_decoder_has_the_weights_of_a_random_network() -> None:
    for encoder in (SMP, TIMM):
        first, second = (build(create_model(encoder, pretrained)).state_dict() for pretrained in (True, False))
        assert all(torch.equal(first[name], second[name]) for name in second if ".encoder." not in name)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize(("encoder", "name"), [(SMP, "conv1.weight"), (TIMM, "model.conv1.0.weight")])
def test_first_convolution_is_adapted_to_one_channel(encoder: str, name: str) -> None:
    """A gray image gives the same features as RGB with three equal channels, without the normalization."""
    gray, color = (build(create_model(encoder), channels) for channels in (1, 3))
    torch.testing.assert_close(get_encoder(gray)[name], get_encoder(color)[name].sum(dim=1, keepdim=True))
    assert get_notes(gray) == ("first convolution adapted from 3 to 1 channel",)
    mean, std = get_statistics(color)
    assert get_statistics(gray) == [[round(sum(values) / 3, 6)] for values in (mean, std)]
    assert build(create_model(encoder), 5)(torch.rand(2, 5, 64, 64)).shape == (2, 2, 64, 64)


def test_encoder_that_timm_cannot_adapt_is_refused(save: Save) -> None:
    with pytest.raises(
        PipelineError, match=r"cannot adapt the weights of tresnet_m from 3 to 4 channels \(body\.conv1"
    ):
        build(create_model("tresnet_m", save(timm.create_model("tresnet_m").state_dict())), 4)


@pytest.mark.usefixtures("no_network")
def test_damaged_cache_is_refused(folder: WeightsFolder) -> None:
    found = folder.find_hub_file(SMP)
    assert found is not None
    path = find_cached(found)
    assert path is not None
    path.resolve().write_bytes(b"damaged")
    with pytest.raises(PipelineError, match=r"damaged or was replaced\. Run `pipeline weights fetch resnet18`"):
        build(create_model())


@pytest.mark.parametrize("prefix", ["", "encoder.", "module.", "module.encoder."])
def test_file_of_an_encoder_is_loaded_under_any_prefix(prefix: str, save: Save) -> None:
    source = get_encoder(build(create_model(pretrained=False)))
    tensors = {f"{prefix}{name}": tensor for name, tensor in source.items()}
    network = build(create_model(pretrained=save({**tensors, f"{prefix}fc.weight": torch.zeros(1000, 512)})))
    assert all(torch.equal(tensor, source[name]) for name, tensor in get_encoder(network).items())
    assert get_notes(network) == ("left out: fc.weight",)
    assert get_statistics(network) == IMAGENET


@pytest.mark.parametrize("encoder", [TIMM, "test_convnext", "test_efficientnet"])
@pytest.mark.parametrize("channels", [1, 3])
def test_file_with_timms_names_is_loaded(encoder: str, channels: int, save: Save) -> None:
    classifier = timm.create_model(encoder, in_chans=channels).eval()
    tensors = {f"module.{name}": tensor for name, tensor in classifier.state_dict().items()}
    network = build(create_model(encoder, save(tensors)), channels)
    first = next(iter(classifier.state_dict().values()))
    assert any(tensor.shape == first.shape and torch.equal(tensor, first) for tensor in get_encoder(network).values())
    assert not any("adapted" in note for note in get_notes(network))


@pytest.mark.parametrize("encoder", [SMP, TIMM, "test_convnext"])
def test_file_of_another_encoder_is_refused_with_its_tensors(encoder: str, save: Save) -> None:
    bare: nn.Module = timm.create_model(encoder)
    tensors = bare.state_dict()
    names = [name for name in tensors if name.endswith("weight") and tensors[name].ndim == 4]
    del tensors[names[1]]
    tensors[names[2]] = torch.zeros(1, 2, 3, 4)
    tensors["layer9.weight"] = torch.zeros(1)
    with pytest.raises(PipelineError) as error:
        build(create_model(encoder, save(tensors)))
    message = str(error.value)
    assert f"model.pretrained: {FILE} does not fit the encoder {encoder}. 1 tensor missing: {names[1]}." in message
    assert "1 tensor unexpected: layer9.weight" in message
    assert f"1 tensor with a different shape: {names[2]} (1, 2, 3, 4) instead of" in message


@pytest.mark.parametrize("encoder", [SMP, TIMM])
def test_unexpected_tensor_alone_is_refused(encoder: str, save: Save) -> None:
    tensors = {**timm.create_model(encoder).state_dict(), "layer9.weight": torch.zeros(1)}
    with pytest.raises(PipelineError, match=rf"encoder {encoder}\. 1 tensor unexpected: layer9\.weight\.$"):
        build(create_model(encoder, save(tensors)))


def test_whole_network_of_another_tool_is_loaded(save: Save) -> None:
    source = build(create_model(pretrained=False), classes=5)[1].state_dict()
    network = build(create_model(pretrained=save({f"model.{name}": tensor for name, tensor in source.items()})))
    found = network[1].state_dict()
    head = [name for name in found if name.startswith("segmentation_head")]
    assert all(torch.equal(found[name], source[name]) for name in found if name not in head)
    assert get_notes(network) == ("segmentation_head.0 is initialized at random for 2 classes instead of 5",)
    assert get_statistics(network) == IMAGENET
    random = build(create_model(pretrained=False))[1].state_dict()
    assert all(torch.equal(found[name], random[name]) for name in head)


@pytest.mark.parametrize("model", [create_unet(), KerasPetsModel(family="keras_pets", pretrained=FILE)], ids=str)
def test_run_of_other_families_is_a_start(model: UNetModel | KerasPetsModel, save: Save) -> None:
    source = build(model.model_copy(update={"pretrained": False}), 4, 3).state_dict()
    save({name: tensor + 1 for name, tensor in source.items()})
    network = build(model, 4, 3)
    assert all(torch.equal(tensor, source[name] + 1) for name, tensor in network.state_dict().items())
    assert network.normalize.mean is None
    assert get_notes(build(model, 4, 5)) == ("head is initialized at random for 5 classes instead of 3",)


def test_run_of_another_network_is_refused(save: Save) -> None:
    save(build(create_unet(False)).state_dict())
    model = create_unet().model_copy(update={"base_channels": 8})
    with pytest.raises(PipelineError, match=rf"{FILE} does not fit this network\. \d+ tensors with a different shape"):
        build(model)
    with pytest.raises(PipelineError, match=r"1 tensor with a different shape: encoder\.0\.0\.weight"):
        build(create_unet(), channels=1)


def test_run_defines_the_normalization(save: Save) -> None:
    network = build(create_model(pretrained=False))
    save(network.state_dict())
    assert build(create_model(pretrained=FILE)).normalize.mean is None
    network.normalize.set_statistics((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), 3)
    save(network.state_dict())
    assert get_statistics(build(create_model(pretrained=FILE))) == [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]


@pytest.mark.parametrize(("encoder", "expected"), [(SMP, IMAGENET), (TIMM, [[0.5] * 3] * 2)])
def test_file_without_normalization_gets_that_of_the_published_weights(
    encoder: str, expected: list[list[float]], save: Save
) -> None:
    source = build(create_model(encoder, pretrained=False))
    for tensors in (get_encoder(source), source[1].state_dict()):
        assert get_statistics(build(create_model(encoder, save(tensors)))) == expected


def test_missing_file_is_refused_with_those_that_exist(save: Save) -> None:
    save({"a": torch.zeros(1)})
    with pytest.raises(
        PipelineError, match=rf"weights/x\.pth does not exist; weights/ has {FILE}\. Put the file there"
    ):
        build(create_model(pretrained="weights/x.pth"))


def test_default_normalization_has_no_tensors() -> None:
    network = build(create_unet(False))
    assert not any(name.startswith("0.") for name in network.state_dict())
    image = torch.rand(1, 3, 8, 8)
    assert torch.equal(network.normalize(image), (image - 0.5) / 0.5)
