"""Convolutions whose training steps are faster on CPUs than torch's, with the same weights and names.

oneDNN (3.12, in torch 2.14) has no fast kernel for the backward pass of some depthwise convolutions or for the bias
gradient of transposed convolutions, which take up to a hundred times as long as the forward pass. Convolutions of
upsampled images are computed at the lower resolution. `benchmarks/convolutions.py` measures the times.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function

BLOCK = 3  # side of the largest kernel with a fast depthwise backward pass
# Taps of a 3 x 3 kernel (rows) that read the same pixel after upsampling, for each tap of the 4 x 4 kernel (columns).
_SUMS = torch.tensor([[0.0, 0, 1, 1], [0, 1, 1, 0], [1, 1, 0, 0]])
SHARED_TAPS = torch.kron(_SUMS, _SUMS)  # 9 x 16
MAX_KERNELS = 128 * 64  # input times output channels, above which summing the taps can take longer than it saves

Pair = tuple[int, int]


class DepthwiseConvolution(nn.Conv2d):
    """A depthwise convolution with a stride or a kernel above 3 x 3, and with a fast backward pass."""

    def _conv_forward(self, images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        output: Tensor
        if not _needs_backward(images):
            output = super()._conv_forward(images, weight, bias)
            return output
        output = _Depthwise.apply(*_cast_like_autocast(images, weight, bias), self.stride, self.padding)
        return output


class TransposedConvolution(nn.ConvTranspose2d):
    """A transposed convolution with a fast bias gradient, without groups, dilation or output padding."""

    def forward(self, images: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Map N x C_in x H x W to N x C_out x H_out x W_out, H_out = (H - 1) stride - 2 padding + kernel size."""
        if output_size is not None or not _needs_backward(images):
            return super().forward(images, output_size)
        return _convolve_transposed(images, self.weight, self.bias, self.stride, self.padding)


class UpsampledConvolution(nn.Conv2d):
    """Nearest-neighbor upsampling by two and a 3 x 3 convolution with padding 1, without groups or dilation.

    Training steps compute both as a transposed convolution with stride 2, whose 4 x 4 kernel contains the sums of the
    taps that read the same pixel. This takes 4/9 of the multiplications.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Map N x C_in x H x W to N x C_out x 2H x 2W."""
        if not _needs_backward(images) or self.in_channels * self.out_channels > MAX_KERNELS:
            return super().forward(upsample(images))
        kernel = self.weight.flatten(2) @ SHARED_TAPS.to(self.weight.dtype)
        kernel = kernel.reshape(self.out_channels, self.in_channels, 4, 4).transpose(0, 1)
        return _convolve_transposed(images, kernel, self.bias, (2, 2), (1, 1))


def upsample(images: Tensor) -> Tensor:
    """Upsample N x C x H x W to N x C x 2H x 2W with nearest neighbors."""
    return F.interpolate(images, scale_factor=2, mode="nearest")


def replace_slow_depthwise(network: nn.Module, by: Mapping[type[nn.Module], type[DepthwiseConvolution]]) -> None:
    """Replace a network's slow depthwise convolutions in place; weights and their names stay the same.

    `by` maps layer classes to the classes that replace them. Layers of other classes are kept.
    """
    for layer in network.modules():
        if type(layer) in by and isinstance(layer, nn.Conv2d) and is_slow_depthwise(layer):
            # The new classes differ only in their methods. torch's lazy layers change their class in the same way.
            layer.__class__ = by[type(layer)]


def is_slow_depthwise(layer: nn.Conv2d) -> bool:
    """Return whether a layer is a depthwise convolution whose backward pass is slow in torch."""
    depthwise = layer.groups == layer.in_channels == layer.out_channels > 1
    plain = layer.dilation == (1, 1) and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    smallest, largest = min(layer.kernel_size), max(layer.kernel_size)
    return depthwise and plain and smallest >= BLOCK and (largest > BLOCK or max(layer.stride) > 1)


def _needs_backward(images: Tensor) -> bool:
    return torch.is_grad_enabled() and images.device.type == "cpu"


def _cast_like_autocast(*tensors: Tensor | None) -> tuple[Tensor | None, ...]:
    """Cast tensors as torch's own convolution would under autocast."""
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
        images_grad = weight_grad = bias_grad = None
        if ctx.needs_input_grad[0]:
            # Only float32 has a fast kernel for strides. The kernel uses only the size of the images.
            wide = torch.float32 if max(ctx.stride) > 1 and images.dtype == torch.bfloat16 else images.dtype
            sizes = torch.empty_like(images, dtype=wide)
            images_grad, _ = _depthwise_backward(
                grad.to(wide), sizes, weight.to(wide), ctx.stride, ctx.padding, (True, False)
            )
            images_grad = images_grad.to(images.dtype)
        if ctx.needs_input_grad[1]:
            weight_grad = _compute_weight_grad(grad, images, weight, ctx.stride, ctx.padding)
        if ctx.needs_input_grad[2]:
            bias_grad = grad.sum((0, 2, 3))
        return images_grad, weight_grad, bias_grad, None, None


def _compute_weight_grad(grad: Tensor, images: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
    """Compute the weight gradient in 3 x 3 blocks, each with a small kernel on a crop of the images."""
    if max(weight.shape[2:]) <= BLOCK:
        _, whole = _depthwise_backward(grad, images, weight, stride, padding, (False, True))
        return whole
    high, wide = ((count - 1) * step + BLOCK for count, step in zip(grad.shape[2:], stride, strict=True))
    padded = F.pad(images, (padding[1], padding[1], padding[0], padding[0]))
    gradient, small = torch.empty_like(weight), weight[:, :, :BLOCK, :BLOCK]
    for top, left in product(_list_block_starts(weight.shape[2]), _list_block_starts(weight.shape[3])):
        part = padded[:, :, top : top + high, left : left + wide].contiguous(memory_format=torch.channels_last)
        _, block = _depthwise_backward(grad, part, small, stride, (0, 0), (False, True))
        gradient[:, :, top : top + BLOCK, left : left + BLOCK] = block
    return gradient


def _list_block_starts(size: int) -> list[int]:
    """List the first taps of blocks that cover `size` taps; the last block may overlap the one before it."""
    return [*range(0, size - BLOCK, BLOCK), size - BLOCK]


def _depthwise_backward(
    grad: Tensor, images: Tensor, weight: Tensor, stride: Pair, padding: Pair, needed: tuple[bool, bool]
) -> tuple[Tensor, Tensor]:
    """Compute the gradients of images and weight with torch's kernel; gradients that are not needed are None."""
    found: tuple[Tensor, Tensor, None] = torch.ops.aten.convolution_backward(
        grad, images, weight, None, stride, padding, (1, 1), False, (0, 0), len(weight), [*needed, False]
    )
    return found[:2]


def _convolve_transposed(images: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any) -> Tensor:
    if bias is None:
        return F.conv_transpose2d(images, weight, None, stride, padding)
    output: Tensor = _Transposed.apply(*_cast_like_autocast(images, weight, bias), stride, padding)
    return output


class _Transposed(Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, stride: Pair, padding: Pair) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv_transpose2d(images, weight, bias, stride, padding)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        images, weight = ctx.saved_tensors
        needed = [*ctx.needs_input_grad[:2], False]  # the gradient of the bias is a plain sum
        images_grad, weight_grad, _ = torch.ops.aten.convolution_backward(
            grad, images, weight, None, ctx.stride, ctx.padding, (1, 1), True, (0, 0), 1, needed
        )
        return images_grad, weight_grad, grad.sum((0, 2, 3)), None, None
