"""The network from Keras' example "Image segmentation with a U-Net-like architecture".

By F. Chollet, https://keras.io/examples/vision/oxford_pets_image_segmentation/. The network contracts and expands like
a U-Net, but has no skip connections between encoder and decoder. Each block has a residual shortcut, as in Xception
(Chollet 2017, https://arxiv.org/abs/1610.02357). Initialization, padding and normalization follow Keras, in order to
reproduce its results.
"""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.models.cpu_convolutions import UpsampledConvolution, upsample

ENTRY = 32  # channels after the first convolution
DOWN = (64, 128, 256)
UP = (256, 128, 64, 32)
SIZE_DIVISOR = 2 << len(DOWN)  # the first convolution and each block of the encoder halve height and width


class SeparableConvolution(nn.Sequential):
    """A depthwise 3 x 3 convolution, then a pointwise one; height and width stay the same."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            # Keras' SeparableConv2D has a single bias, after the pointwise convolution.
            nn.Conv2d(in_channels, in_channels, kernel_size=3, padding=1, groups=in_channels, bias=False),
            nn.Conv2d(in_channels, out_channels, kernel_size=1),
        )


class Body(nn.Sequential):
    """ReLU, convolution and batch normalization, twice."""

    def __init__(self, first: nn.Module, second: nn.Module, out_channels: int) -> None:
        super().__init__(
            nn.ReLU(),  # not in place: the shortcut reads the same input
            first,
            _create_norm(out_channels),
            nn.ReLU(inplace=True),
            second,
            _create_norm(out_channels),
        )


class Down(nn.Module):
    """An encoder block that halves height and width, with a 1 x 1 convolution of stride 2 as its shortcut."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        first, second = (SeparableConvolution(before, out_channels) for before in (in_channels, out_channels))
        self.body = Body(first, second, out_channels)
        self.shortcut = nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Map N x C_in x H x W to N x C_out x H/2 x W/2."""
        # ceil_mode pads on the right and at the bottom, as Keras' "same" does for even sizes.
        pooled = F.max_pool2d(self.body(x), kernel_size=3, stride=2, ceil_mode=True)
        y: Tensor = pooled + self.shortcut(x)
        return y


class Up(nn.Module):
    """A decoder block with a 1 x 1 convolution as its shortcut, which doubles height and width if it `upsamples`.

    Keras' blocks end with the upsampling. Here, the next block or the head begins with it, after the operations that
    commute with it: ReLU and the 1 x 1 convolution cost a quarter of the work.
    """

    def __init__(self, in_channels: int, out_channels: int, upsamples: bool) -> None:
        super().__init__()
        self.upsamples = upsamples
        # Keras' Conv2DTranspose with stride 1 is a convolution whose kernel is mirrored.
        convolution = UpsampledConvolution if upsamples else nn.Conv2d
        first = convolution(in_channels, out_channels, kernel_size=3, padding=1)
        second = nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1)
        self.body = Body(first, second, out_channels)
        self.shortcut = nn.Conv2d(in_channels, out_channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map N x C_in x H x W to N x C_out x H x W, or to N x C_out x 2H x 2W."""
        shortcut = self.shortcut(x)
        y: Tensor = self.body(x) + (upsample(shortcut) if self.upsamples else shortcut)
        return y


class KerasPets(nn.Module):
    """A four-level encoder and decoder with residual blocks.

    The network returns logits, whereas the one in Keras' example returns probabilities.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.entry = nn.Conv2d(channels, ENTRY, kernel_size=3, stride=2)
        self.entry_norm = _create_norm(ENTRY)
        self.down = nn.Sequential(*(Down(before, after) for before, after in pairwise((ENTRY, *DOWN))))
        self.up = nn.Sequential(
            Up(DOWN[-1], UP[0], upsamples=False),
            *(Up(before, after, upsamples=True) for before, after in pairwise(UP)),
        )
        self.head = UpsampledConvolution(UP[-1], classes, kernel_size=3, padding=1)
        self.apply(_initialize)

    def forward(self, x: Tensor) -> Tensor:
        """Map images N x C x H x W to logits N x classes x H x W.

        Raises:
            ValueError: Height or width is not a multiple of `SIZE_DIVISOR`.
        """
        if x.shape[-2] % SIZE_DIVISOR or x.shape[-1] % SIZE_DIVISOR:
            raise ValueError(f"height and width must be multiples of {SIZE_DIVISOR}, but are {tuple(x.shape[-2:])}")
        # Keras' "same" with stride 2 pads even sizes on the right and at the bottom only; padding=1 would pad the other
        # side and shift every feature map by a pixel.
        x = self.entry(F.pad(x, (0, 1, 0, 1)))
        x = F.relu(self.entry_norm(x))
        logits: Tensor = self.head(self.up(self.down(x)))
        return logits


def _create_norm(channels: int) -> nn.BatchNorm2d:
    # Keras' defaults: its momentum of 0.99 is 0.01 in torch's definition.
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        # Glorot and Bengio (2010). torch and Keras differ in the order of a kernel's axes, but not in the sum of fan-in
        # and fan-out, also for depthwise convolutions and Keras' transposed ones.
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
