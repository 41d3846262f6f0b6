"""Average the class probabilities of several networks, or of an image and its mirror image."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Ensemble(nn.Module):
    """Several networks whose class probabilities are averaged (Lakshminarayanan, Pritzel and Blundell, NeurIPS 2017).

    The logarithms of the means are divided by a temperature, which calibrates them and keeps their order: "pool, then
    calibrate" (Rahaman and Thiery, Uncertainty quantification and deep ensembles, NeurIPS 2021).

    Args:
        networks: At least one network that maps images (N x C x H x W) to logits (N x classes x H x W).
        temperature: The temperature; at 1, the probabilities are the means.
    """

    def __init__(self, networks: Iterable[nn.Module], temperature: float = 1.0) -> None:
        super().__init__()
        self.members = nn.ModuleList(networks)
        self.temperature = temperature

    def forward(self, images: Tensor) -> Tensor:
        """Map images to logits: logarithms of mean probabilities over the temperature, N x classes x H x W, float32."""
        return average_probs(self.predict_members(images)) / self.temperature

    def predict_members(self, images: Tensor) -> Tensor:
        """Predict the members' log-probabilities, members x N x classes x H x W, float32."""
        return torch.stack([_predict_log_probs(member, images) for member in self.members])


class MemberOutputs(nn.Module):
    """Outputs of an ensemble and of its members, which the tiles of an image thus blend in one pass.

    Args:
        ensemble: The ensemble.
    """

    def __init__(self, ensemble: Ensemble) -> None:
        super().__init__()
        self.ensemble = ensemble
        self.num_networks = 2 + len(ensemble.members)

    def forward(self, images: Tensor) -> Tensor:
        """Map images to logits of the ensemble, of its members' mean and of each member.

        Returns:
            N x `num_networks` * classes x H x W, float32. The mean is without the temperature, because only its entropy
            is at least the mean entropy of the members.
        """
        members = self.ensemble.predict_members(images)
        mean = average_probs(members)[None]
        return torch.cat([mean / self.ensemble.temperature, mean, members]).transpose(0, 1).flatten(1, 2)


class FlipAverage(nn.Module):
    """A network whose class probabilities are averaged over an image and its horizontal flip.

    Args:
        network: The network, as for `Ensemble`.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Map images to logits whose softmax is the mean of both probabilities, N x classes x H x W, float32."""
        flipped = _predict_log_probs(self.network, images.flip(-1)).flip(-1)
        return average_probs(torch.stack([_predict_log_probs(self.network, images), flipped]))


def average_probs(log_probs: Tensor) -> Tensor:
    """Compute the logarithm of the mean of probabilities over the first axis of their logarithms."""
    return log_probs.logsumexp(dim=0) - math.log(len(log_probs))


def _predict_log_probs(network: nn.Module, images: Tensor) -> Tensor:
    # In bfloat16, probabilities would be rounded to two or three digits before they are averaged.
    logits: Tensor = network(images).float()
    return logits.log_softmax(dim=1)
