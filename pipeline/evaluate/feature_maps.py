"""Extract feature maps of a U-Net, which the report shows to explain the network."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pipeline.artifacts.prepared_data import Split
from pipeline.data.batch_loader import to_network_input
from pipeline.imaging.windows import center_window, cut_window
from pipeline.models.precision import get_device
from pipeline.models.unet import UNet

FeatureMaps = npt.NDArray[np.uint8]

NUM_MAPS = 4  # number of maps to keep, chosen by largest variance, because a flat map shows nothing


def extract_feature_maps(
    network: nn.Module, showcase: Split, patch: tuple[int, int] | None = None
) -> dict[str, FeatureMaps]:
    """Extract feature maps of the first showcase image, or of its central patch of size `patch` (px).

    Each map is scaled so that its lowest value is 0 and its highest value 255.

    Returns:
        Feature maps by name; empty if the network is not this project's U-Net, or there is no showcase image. `skip`
        (K x H x W) are the encoder's maps at the uppermost level, which the skip connection passes to the decoder.
        `below` (K x H x W) are the maps that the decoder upsampled to the same size. `before` (h x w) and `after`
        (2h x 2w) are single maps before and after the deepest upsampling.
    """
    unet = next((module for module in network.modules() if isinstance(module, UNet)), None)
    if unet is None or not len(showcase):
        return {}
    recorded: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def record(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        recorded[module] = inputs[0][0].clone(), output[0].clone()  # cloned, because the next ReLU may be in place

    top, last, deepest = unet.encoder[0], unet.upsampling[-1], unet.upsampling[0]
    hooks = [module.register_forward_hook(record) for module in {top, last, deepest}]
    image = showcase.images[0]
    if patch is not None:
        image = cut_window(image, center_window(image.shape, patch))
    images = to_network_input(torch.from_numpy(image[None].copy()).to(get_device(network)))
    with torch.inference_mode():
        network.eval()(images)
    for hook in hooks:
        hook.remove()
    return {
        "skip": _stretch(_select_maps(recorded[top][1], NUM_MAPS)),
        "below": _stretch(_select_maps(recorded[last][1], NUM_MAPS)),
        "before": _stretch(_select_maps(recorded[deepest][0], 1))[0],
        "after": _stretch(_select_maps(recorded[deepest][1], 1))[0],
    }


def _select_maps(maps: Tensor, count: int) -> Tensor:
    """Select the maps (C x H x W) with the largest variance, largest first."""
    order = maps.float().var(dim=(1, 2)).argsort(descending=True, stable=True)
    return maps[order[:count]].float()


def _stretch(maps: Tensor) -> FeatureMaps:
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    stretched = (maps - low) / (high - low).clamp(min=1e-12) * 255
    return stretched.round().to(torch.uint8).cpu().numpy()
