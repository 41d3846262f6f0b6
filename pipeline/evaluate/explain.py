"""What a U-Net's maps look like on the showcase: the pictures that the report's explanation shows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pipeline.data.batch_loader import Batches
from pipeline.data.prepared import Split
from pipeline.models.precision import get_device
from pipeline.models.unet import UNet

Maps = npt.NDArray[np.uint8]

SHOWN = 4  # maps of many: those that differ most from place to place, since a flat one shows nothing


def explain(network: nn.Module, showcase: Split) -> dict[str, Maps]:
    """Maps of the first showcase image, each stretched from its lowest (0) to its highest value (255).

    Returns:
        Nothing for another network than this project's U-Net, or without a showcase. Else `skip`, the encoder's maps of
        the uppermost level, which cross to the decoder; `below`, the decoder's own of that size, K x H x W each;
        `before` and `after`, one map on either side of the deepest upsampling, h x w and 2h x 2w.
    """
    unet = next((module for module in network.modules() if isinstance(module, UNet)), None)
    if unet is None or not len(showcase):
        return {}
    seen: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen[module] = inputs[0][0].clone(), output[0].clone()  # cloned, since a ReLU behind it may work in place

    across, last, deepest = unet.encoder[0], unet.upsampling[-1], unet.upsampling[0]
    hooks = [module.register_forward_hook(keep) for module in {across, last, deepest}]
    images, _ = Batches(showcase, get_device(network)).take(np.arange(1))
    with torch.inference_mode():
        network.eval()(images)
    for hook in hooks:
        hook.remove()
    return {
        "skip": _stretched(_liveliest(seen[across][1], SHOWN)),
        "below": _stretched(_liveliest(seen[last][1], SHOWN)),
        "before": _stretched(_liveliest(seen[deepest][0], 1))[0],
        "after": _stretched(_liveliest(seen[deepest][1], 1))[0],
    }


def _liveliest(maps: Tensor, count: int) -> Tensor:
    """The maps (C x H x W) of the largest variance, largest first."""
    order = maps.float().var(dim=(1, 2)).argsort(descending=True, stable=True)
    return maps[order[:count]].float()


def _stretched(maps: Tensor) -> Maps:
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    stretched = (maps - low) / (high - low).clamp(min=1e-12) * 255
    return stretched.round().to(torch.uint8).cpu().numpy()
