"""The U-Net of Ronneberger, Fischer and Brox (2015), https://arxiv.org/abs/1505.04597, with common variations.

It differs from the paper in two common ways: padded convolutions keep the size, and normalization (batch: Ioffe and
Szegedy 2015, group: Wu and He 2018) is on by default, so that the network learns within a few epochs. The paper's
choices, no normalization and dropout at the end of the contracting path, are available as options.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.models.cpu_convolutions import TransposedConvolution
from pipeline.params.model import Norm, UNetModel, Upsampling

MAX_GROUPS = 8  # maximum number of groups in group normalization


class DoubleConvolution(nn.Sequential):
    """3 x 3 convolution, optional normalization and ReLU, twice; height and width stay the same."""

    def __init__(self, in_channels: int, out_channels: int, norm: Norm) -> None:
        layers: list[nn.Module] = []
        for before in (in_channels, out_channels):
            layers += [
                # A normalization subtracts the mean and adds its own offset, so a bias before it has no effect.
                nn.Conv2d(before, out_channels, kernel_size=3, padding=1, bias=norm == "none"),
                *_create_norm(out_channels, norm),
                nn.ReLU(inplace=True),
            ]
        super().__init__(*layers)
        if norm == "none":
            # He et al. 2015, as in the paper: torch's default shrinks activations layer by layer.
            for layer in layers:
                if isinstance(layer, nn.Conv2d):
                    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")


def _create_norm(channels: int, norm: Norm) -> list[nn.Module]:
    if norm == "none":
        return []
    if norm == "batch":
        return [nn.BatchNorm2d(channels)]
    # Groups must have equal sizes, so their number is the largest divisor of the channels up to 8.
    groups = max(count for count in range(1, MAX_GROUPS + 1) if channels % count == 0)
    return [nn.GroupNorm(groups, channels)]


class UpsamplingBlock(nn.Module):
    """A block that doubles height and width, and maps the channels of a level to those of the level above."""

    def __init__(self, in_channels: int, out_channels: int, upsampling: Upsampling) -> None:
        super().__init__()
        self.mode = upsampling
        self.convolution: nn.Module = (
            TransposedConvolution(in_channels, out_channels, kernel_size=2, stride=2)
            if upsampling == "transpose"
            else nn.Conv2d(in_channels, out_channels, kernel_size=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map N x C_in x H x W to N x C_out x 2H x 2W."""
        y: Tensor = self.convolution(x)
        if self.mode == "bilinear":
            # After the 1 x 1 convolution, with which it commutes, because this costs a quarter of the work.
            y = F.interpolate(y, scale_factor=2, mode="bilinear", align_corners=False)
        return y


class UNet(nn.Module):
    """A U-Net for images with `channels` channels and masks with `classes` classes.

    `model` is the `model` section of the parameters.
    """

    def __init__(self, channels: int, classes: int, model: UNetModel) -> None:
        super().__init__()
        self.skip_connections = model.skip_connections
        widths = [model.base_channels * 2**level for level in range(model.depth + 1)]
        self.encoder = nn.ModuleList(
            DoubleConvolution(before, after, model.norm)
            for before, after in zip([channels, *widths[:-2]], widths[:-1], strict=True)
        )
        self.bottleneck = DoubleConvolution(widths[-2], widths[-1], model.norm)
        # Drops whole feature maps: neighboring pixels are too similar for dropout of single pixels to have an effect.
        self.dropout = nn.Dropout2d(model.dropout) if model.dropout else None
        upwards = list(zip(reversed(widths[1:]), reversed(widths[:-1]), strict=True))
        self.upsampling = nn.ModuleList(UpsamplingBlock(below, here, model.upsampling) for below, here in upwards)
        joined = 2 if model.skip_connections == "concat" else 1
        self.decoder = nn.ModuleList(DoubleConvolution(joined * here, here, model.norm) for _, here in upwards)
        self.head = nn.Conv2d(model.base_channels, classes, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map images N x C x H x W to logits N x classes x H x W.

        Raises:
            ValueError: Height or width is not a multiple of 2 ** depth.
        """
        divisor = 1 << len(self.encoder)
        if x.shape[-2] % divisor or x.shape[-1] % divisor:
            raise ValueError(f"height and width must be multiples of {divisor}, but are {tuple(x.shape[-2:])}")
        feature_maps = []
        for convolve in self.encoder:
            x = convolve(x)
            feature_maps.append(x)
            x = F.max_pool2d(x, kernel_size=2)
        x = self.bottleneck(x)
        if self.dropout is not None:
            x = self.dropout(x)
        for upsample, convolve in zip(self.upsampling, self.decoder, strict=True):
            x = convolve(self._join(upsample(x), feature_maps.pop()))
        logits: Tensor = self.head(x)
        return logits

    def _join(self, x: Tensor, skipped: Tensor) -> Tensor:
        if self.skip_connections == "concat":
            return torch.cat([skipped, x], dim=1)
        return x + skipped if self.skip_connections == "add" else x
