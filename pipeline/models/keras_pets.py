"""The network of Keras' example "Image segmentation with a U-Net-like architecture", number for number.

By F. Chollet, https://keras.io/examples/vision/oxford_pets_image_segmentation/. U-Net-like: it contracts and expands,
but nothing crosses from the encoder to the decoder; its shortcuts run beside each block, as in Xception (Chollet 2017,
https://arxiv.org/abs/1610.02357). Initialisation, padding and normalisation are those of Keras, so that an exercise
done there can be repeated here.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.models.convolutions import TransposedConvolution

ENTRY = 32  # channels behind the first convolution
DOWN = (64, 128, 256)
UP = (256, 128, 64, 32)
SIZE_DIVISOR = 2 << len(DOWN)  # the entry halves height and width, and so does each block on the way down

Convolution = Callable[[int, int], nn.Module]  # from channels in and out


class SeparableConvolution(nn.Sequential):
    """A 3 x 3 filter for each channel, then a 1 x 1 convolution that mixes the channels. Height and width stay."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(
            # Keras' SeparableConv2D has one bias, behind the mixing.
            nn.Conv2d(channels_in, channels_in, kernel_size=3, padding=1, groups=channels_in, bias=False),
            nn.Conv2d(channels_in, channels_out, kernel_size=1),
        )


class Body(nn.Sequential):
    """Twice: ReLU, a convolution, batch normalisation. Height and width stay."""

    def __init__(self, channels_in: int, channels_out: int, convolution: Convolution) -> None:
        super().__init__(
            nn.ReLU(),  # not in place: the block's shortcut reads the same input
            convolution(channels_in, channels_out),
            _normalisation(channels_out),
            nn.ReLU(inplace=True),
            convolution(channels_out, channels_out),
            _normalisation(channels_out),
        )


class Down(nn.Module):
    """Halves height and width: separable convolutions and a pooling, beside a 1 x 1 convolution of stride 2."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.body = Body(channels_in, channels_out, SeparableConvolution)
        self.shortcut = nn.Conv2d(channels_in, channels_out, kernel_size=1, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """N x C_in x H x W to N x C_out x H/2 x W/2."""
        # ceil_mode lets the last windows hang over the right and lower edge: Keras' "same" of even sizes.
        pooled = F.max_pool2d(self.body(x), kernel_size=3, stride=2, ceil_mode=True)
        y: Tensor = pooled + self.shortcut(x)
        return y


class Up(nn.Module):
    """Doubles height and width: transposed convolutions beside a 1 x 1 convolution, each pixel then repeated 2 x 2."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.body = Body(channels_in, channels_out, _transposed)
        self.shortcut = nn.Conv2d(channels_in, channels_out, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """N x C_in x H x W to N x C_out x 2H x 2W."""
        # Keras enlarges both ways first, then convolves 1 x 1 and adds. Repeated pixels give repeated results, so that
        # convolving and adding before is the same for a quarter of the work.
        return F.interpolate(self.body(x) + self.shortcut(x), scale_factor=2, mode="nearest")


class KerasPets(nn.Module):
    """Halves the image four times and doubles it four times, with a shortcut beside each block.

    Args:
        channels: of the image.
        classes: of the mask; the output has a logit for each, where Keras' example has the softmax.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.entry = nn.Conv2d(channels, ENTRY, kernel_size=3, stride=2)
        self.entry_normalisation = _normalisation(ENTRY)
        self.down = nn.Sequential(*(Down(before, after) for before, after in pairwise((ENTRY, *DOWN))))
        self.up = nn.Sequential(*(Up(before, after) for before, after in pairwise((DOWN[-1], *UP))))
        self.head = nn.Conv2d(UP[-1], classes, kernel_size=3, padding=1)
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor:
        """Images N x C x H x W to logits N x classes x H x W; raises `ValueError` on sizes that cannot be halved."""
        if x.shape[-2] % SIZE_DIVISOR or x.shape[-1] % SIZE_DIVISOR:
            raise ValueError(f"height and width must be multiples of {SIZE_DIVISOR}, but are {tuple(x.shape[-2:])}")
        # Keras' "same" at stride 2 of an even size is lopsided: no zeros left and above, one right and below. torch's
        # padding=1 would put them on the other side, and shift every map by a pixel.
        x = self.entry(F.pad(x, (0, 1, 0, 1)))
        x = F.relu(self.entry_normalisation(x))
        logits: Tensor = self.head(self.up(self.down(x)))
        return logits


def _normalisation(channels: int) -> nn.BatchNorm2d:
    # Keras' defaults. Its momentum of 0.99 is the share that stays; torch's is the share that is new.
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


def _transposed(channels_in: int, channels_out: int) -> nn.Module:
    # At stride 1 "same" is even-handed: a pixel cut off on each side.
    return TransposedConvolution(channels_in, channels_out, kernel_size=3, padding=1)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        # Glorot and Bengio (2010): uniform within sqrt(6 / (fan in + fan out)). torch and Keras order a kernel's axes
        # otherwise, but the sum of the fans is the same, for depthwise and transposed convolutions too.
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
