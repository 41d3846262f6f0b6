"""Convolutions whose way back is put together from kernels that a processor is fast in.

Some are missing in oneDNN (3.12, in torch 2.14), which then falls back to plain loops: the way back through a depthwise
convolution takes up to a hundred times as long as the way there, and so does the bias of a transposed one. The way
there is torch's to the last bit, and so are the weights and their names. `benchmarks/convolutions.py` has the times.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function

BLOCK = 3  # taps on a side of the largest kernel whose depthwise way back is fast

Pair = tuple[int, int]


class DepthwiseConvolution(nn.Conv2d):
    """A filter for each channel, of a kernel above 3 x 3 or with a stride: others are fast as torch has them."""

    def _conv_forward(self, images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        filtered: Tensor
        if not _is_trained_here(images):
            filtered = super()._conv_forward(images, weight, bias)
            return filtered
        filtered = _Depthwise.apply(*_as_autocast_would(images, weight, bias), self.stride, self.padding)
        return filtered


class TransposedConvolution(nn.ConvTranspose2d):
    """Each input pixel paints a learned patch."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
    ) -> None:
        super().__init__(channels_in, channels_out, kernel_size, stride, padding, bias=bias)

    def forward(self, images: Tensor, output_size: list[int] | None = None) -> Tensor:
        """N x C_in x H x W to N x C_out x (H - 1) stride - 2 padding + kernel x likewise."""
        if self.bias is None or output_size is not None or not _is_trained_here(images):
            return super().forward(images, output_size)
        tensors = _as_autocast_would(images, self.weight, self.bias)
        painted: Tensor = _Transposed.apply(*tensors, self.stride, self.padding)
        return painted


def exchange_slow_depthwise(network: nn.Module, by: Mapping[type[nn.Module], type[DepthwiseConvolution]]) -> None:
    """Exchange a network's slow depthwise convolutions in place; weights and their names stay.

    Args:
        network: any; only layers whose class is a key of `by` are looked at.
        by: what each class is exchanged by.
    """
    for parent in list(network.modules()):
        for name, layer in parent.named_children():
            if type(layer) in by and isinstance(layer, nn.Conv2d) and is_slow_depthwise(layer):
                setattr(parent, name, exchanged(layer, by[type(layer)]))


def is_slow_depthwise(layer: nn.Conv2d) -> bool:
    """Whether a layer is what `DepthwiseConvolution` is written for."""
    depthwise = layer.groups == layer.in_channels == layer.out_channels > 1
    plain = layer.dilation == (1, 1) and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    smallest, largest = min(layer.kernel_size), max(layer.kernel_size)
    return depthwise and plain and smallest >= BLOCK and (largest > BLOCK or max(layer.stride) > 1)


def exchanged(layer: nn.Conv2d, by: type[DepthwiseConvolution]) -> DepthwiseConvolution:
    """A layer of another class with the same weights; no random number is drawn."""
    new = by(
        layer.in_channels,
        layer.out_channels,
        cast("Pair", layer.kernel_size),
        cast("Pair", layer.stride),
        cast("Pair", layer.padding),
        groups=layer.groups,
        bias=layer.bias is not None,
        device="meta",
    )
    new.weight, new.bias = layer.weight, layer.bias
    return new


def _is_trained_here(images: Tensor) -> bool:
    return torch.is_grad_enabled() and images.device.type == "cpu"


def _as_autocast_would(*tensors: Tensor | None) -> tuple[Tensor | None, ...]:
    """The tensors in the precision that torch's own convolution would cast them to."""
    if not torch.is_autocast_enabled("cpu"):
        return tensors
    lower = torch.get_autocast_dtype("cpu")
    return tuple(tensor if tensor is None else tensor.to(lower) for tensor in tensors)


class _Depthwise(Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(images, weight, bias, stride, padding, 1, len(weight))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        images, weight = ctx.saved_tensors
        of_images = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            # bfloat16 has no fast kernel for strides; float32 has. Of the images it asks nothing but their size.
            wide = torch.float32 if max(ctx.stride) > 1 and images.dtype == torch.bfloat16 else images.dtype
            sizes = torch.empty_like(images, dtype=wide)
            of_images, _ = _depthwise_way_back(
                grad.to(wide), sizes, weight.to(wide), ctx.stride, ctx.padding, (True, False)
            )
            of_images = of_images.to(images.dtype)
        if ctx.needs_input_grad[1]:
            of_weight = _weight_gradient(grad, images, weight, ctx.stride, ctx.padding)
        if ctx.needs_input_grad[2]:
            of_bias = grad.sum((0, 2, 3))
        return of_images, of_weight, of_bias, None, None


def _weight_gradient(grad: Tensor, images: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
    """The gradient of the taps, in blocks of 3 x 3: each is that of a smaller kernel over a part of the images."""
    if max(weight.shape[2:]) <= BLOCK:
        _, whole = _depthwise_way_back(grad, images, weight, stride, padding, (False, True))
        return whole
    high, wide = ((count - 1) * step + BLOCK for count, step in zip(grad.shape[2:], stride, strict=True))
    padded = F.pad(images, (padding[1], padding[1], padding[0], padding[0]))
    gradient, small = torch.empty_like(weight), weight[:, :, :BLOCK, :BLOCK]
    for top, left in product(_starts(weight.shape[2]), _starts(weight.shape[3])):
        part = padded[:, :, top : top + high, left : left + wide].contiguous(memory_format=torch.channels_last)
        _, block = _depthwise_way_back(grad, part, small, stride, (0, 0), (False, True))
        gradient[:, :, top : top + BLOCK, left : left + BLOCK] = block
    return gradient


def _starts(size: int) -> list[int]:
    """Where blocks begin that cover so many taps; the last may lie over the one before it."""
    return [*range(0, size - BLOCK, BLOCK), size - BLOCK]


def _depthwise_way_back(
    grad: Tensor, images: Tensor, weight: Tensor, stride: Pair, padding: Pair, asked: tuple[bool, bool]
) -> tuple[Tensor, Tensor]:
    """The gradients of images and weight as torch computes them; one that is not asked for is None."""
    found: tuple[Tensor, Tensor, None] = torch.ops.aten.convolution_backward(
        grad, images, weight, None, stride, padding, (1, 1), False, (0, 0), len(weight), [*asked, False]
    )
    return found[:2]


class _Transposed(Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, stride: Pair, padding: Pair) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv_transpose2d(images, weight, bias, stride, padding)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        images, weight = ctx.saved_tensors
        asked = [*ctx.needs_input_grad[:2], False]  # the bias' is a sum, which torch is fast in
        of_images, of_weight, _ = torch.ops.aten.convolution_backward(
            grad, images, weight, None, ctx.stride, ctx.padding, (1, 1), True, (0, 0), 1, asked
        )
        return of_images, of_weight, grad.sum((0, 2, 3)), None, None
