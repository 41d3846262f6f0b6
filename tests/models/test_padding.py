"""Images whose sides are not multiples of what a network needs are padded, and logits have the images' size."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from pipeline.models.factory import build_network
from pipeline.params.model import KerasPetsModel, Model, SmpModel, UNetModel

MODELS: dict[str, Model] = {
    "unet": UNetModel(
        family="unet", base_channels=4, depth=3, upsampling="transpose", skip_connections="concat", norm="batch",
        dropout=0.0,
    ),
    "smp": SmpModel(family="smp", architecture="FPN", encoder="resnet18", pretrained=False),
    "keras_pets": KerasPetsModel(family="keras_pets"),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("size", [(32, 32), (33, 64), (47, 63), (64, 50)])
def test_logits_have_the_size_of_the_images(name: str, size: tuple[int, int]) -> None:
    model = MODELS[name]
    torch.manual_seed(0)
    network = build_network(model, 3, 2).eval()
    images = torch.rand(2, 3, *size)
    below, right = (-side % model.size_multiple for side in size)
    with torch.no_grad():
        logits = network(images)
        padded = network(F.pad(images, (0, right, 0, below), mode="replicate"))
    assert logits.shape == (2, 2, *size)
    torch.testing.assert_close(logits, padded[..., : size[0], : size[1]], rtol=0, atol=0)


def test_padding_keeps_the_names_of_the_weights() -> None:
    names = build_network(MODELS["unet"], 3, 2).state_dict()
    assert all(name.startswith("1.") for name in names)
