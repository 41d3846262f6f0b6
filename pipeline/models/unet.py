"""The U-Net of Ronneberger, Fischer and Brox (2015), https://arxiv.org/abs/1505.04597, with its choices as options.

Two departures from the paper, both usual today: padded convolutions, so that the output is as large as the input, and a
normalisation (batch: Ioffe and Szegedy 2015, group: Wu and He 2018), without which a network this deep hardly starts to
learn in a few epochs. The paper has none, and dropout at the end of the contracting path: both can be had.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.models.convolutions import TransposedConvolution

Up = Literal["transpose", "bilinear"]
Skip = Literal["concat", "add", "none"]
Norm = Literal["batch", "group", "none"]

GROUPS = 8  # of channels, in group normalisation


class DoubleConvolution(nn.Sequential):
    """Twice: a 3 x 3 convolution, a normalisation or none, ReLU. Height and width stay."""

    def __init__(self, channels_in: int, channels_out: int, norm: Norm) -> None:
        layers: list[nn.Module] = []
        for before in (channels_in, channels_out):
            layers += [
                # No bias where a normalisation follows: that subtracts the mean, and adds a learned offset of its own.
                nn.Conv2d(before, channels_out, kernel_size=3, padding=1, bias=norm == "none"),
                *_normalisation(channels_out, norm),
                nn.ReLU(inplace=True),
            ]
        super().__init__(*layers)
        if norm == "none":
            # As the paper draws them (He et al. 2015): torch's own default lets the signal fade from layer to layer,
            # which only a normalisation mends.
            for layer in layers:
                if isinstance(layer, nn.Conv2d):
                    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")


def _normalisation(channels: int, norm: Norm) -> list[nn.Module]:
    if norm == "none":
        return []
    if norm == "batch":
        return [nn.BatchNorm2d(channels)]
    # Groups are equally large: fewer than 8 where the channels are fewer, or are no multiple of 8.
    groups = max(count for count in range(1, GROUPS + 1) if channels % count == 0)
    return [nn.GroupNorm(groups, channels)]


class Upsampling(nn.Module):
    """Doubles height and width and maps the channels of one level to those of the level above."""

    def __init__(self, channels_in: int, channels_out: int, up: Up) -> None:
        super().__init__()
        self.up = up
        # Transposed: each input pixel paints a learned 2 x 2 patch. Bilinear: a fixed interpolation, then 1 x 1.
        self.convolution: nn.Module = (
            TransposedConvolution(channels_in, channels_out, kernel_size=2, stride=2)
            if up == "transpose"
            else nn.Conv2d(channels_in, channels_out, kernel_size=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """N x C_in x H x W to N x C_out x 2H x 2W."""
        if self.up == "bilinear":
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        y: Tensor = self.convolution(x)
        return y


class UNet(nn.Module):
    """Contracts the image `depth` times, expands it again, and lets each level see its encoder map across the skip.

    Args:
        channels: of the image.
        classes: of the mask; the output has a logit for each.
        base_channels: of the first level; doubled at each level below.
        depth: number of poolings.
        up: how the decoder doubles the size.
        skip: how the encoder's map of the same size reaches the decoder: side by side, summed, or not at all.
        norm: what follows each 3 x 3 convolution.
        dropout: probability, in training, of each of the bottleneck's feature maps to be blanked; 0 adds no module.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        base_channels: int,
        depth: int,
        up: Up,
        skip: Skip,
        norm: Norm,
        dropout: float,
    ) -> None:
        super().__init__()
        self.skip = skip
        widths = [base_channels * 2**level for level in range(depth + 1)]
        self.encoder = nn.ModuleList(
            DoubleConvolution(before, after, norm)
            for before, after in zip([channels, *widths[:-2]], widths[:-1], strict=True)
        )
        self.bottleneck = DoubleConvolution(widths[-2], widths[-1], norm)
        # Whole maps, not pixels: neighbours in a map are so alike that one tells what the other was.
        self.dropout = nn.Dropout2d(dropout) if dropout else None
        upwards = list(zip(reversed(widths[1:]), reversed(widths[:-1]), strict=True))
        self.upsampling = nn.ModuleList(Upsampling(below, here, up) for below, here in upwards)
        joined = 2 if skip == "concat" else 1
        self.decoder = nn.ModuleList(DoubleConvolution(joined * here, here, norm) for _, here in upwards)
        self.head = nn.Conv2d(base_channels, classes, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """Images N x C x H x W to logits N x classes x H x W; raises `ValueError` on sizes that cannot be halved."""
        divisor = 1 << len(self.encoder)
        if x.shape[-2] % divisor or x.shape[-1] % divisor:
            raise ValueError(f"height and width must be multiples of {divisor}, but are {tuple(x.shape[-2:])}")
        maps = []
        for convolve in self.encoder:
            x = convolve(x)
            maps.append(x)
            x = F.max_pool2d(x, kernel_size=2)
        x = self.bottleneck(x)
        if self.dropout is not None:
            x = self.dropout(x)
        for upsample, convolve in zip(self.upsampling, self.decoder, strict=True):
            x = convolve(self._join(upsample(x), maps.pop()))
        logits: Tensor = self.head(x)
        return logits

    def _join(self, x: Tensor, across: Tensor) -> Tensor:
        if self.skip == "concat":
            return torch.cat([across, x], dim=1)
        return x + across if self.skip == "add" else x
