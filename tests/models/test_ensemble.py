"""Ensembles of networks and averages over flips: laws of averaged probabilities."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from pipeline.models.ensemble import Ensemble, FlipAverage, MemberOutputs
from pipeline.models.factory import build_network
from pipeline.models.precision import autocast_context
from pipeline.params.model import UNetModel

NUM_CLASSES = 3


class Constant(nn.Module):
    """A network with the same logits for every image."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, images: Tensor) -> Tensor:
        return self.logits.expand(len(images), *self.logits.shape)


def draw_logits(seed: int, num_members: int, scale: float) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [scale * torch.randn(NUM_CLASSES, 4, 5, generator=generator) for _ in range(num_members)]


seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 6)
scales = st.sampled_from([0.1, 1.0, 30.0, 1000.0])


@given(seeds, sizes, scales)
def test_softmax_of_the_ensemble_is_the_mean_of_the_members(seed: int, num_members: int, scale: float) -> None:
    members = draw_logits(seed, num_members, scale)
    probs = Ensemble(map(Constant, members))(torch.zeros(2, 3, 4, 5)).softmax(dim=1)
    expected = torch.stack([logits.softmax(dim=0) for logits in members]).mean(dim=0)
    assert probs.shape == (2, NUM_CLASSES, 4, 5)
    assert torch.allclose(probs[0], expected, atol=1e-6)


@given(seeds, sizes, st.floats(0.25, 4))
def test_temperature_changes_probabilities_but_not_their_order(seed: int, num_members: int, temperature: float) -> None:
    members = draw_logits(seed, num_members, 3.0)
    images = torch.zeros(1, 3, 4, 5)
    mean = Ensemble(map(Constant, members))(images).softmax(dim=1)
    found = Ensemble(map(Constant, members), temperature)(images).softmax(dim=1)
    powers = mean ** (1 / temperature)
    assert torch.allclose(found, powers / powers.sum(dim=1, keepdim=True), atol=1e-5)
    assert (found.gather(1, mean.argmax(dim=1, keepdim=True)) == found.amax(dim=1, keepdim=True)).all()


@given(seeds, sizes, scales)
def test_cross_entropy_of_the_ensemble_is_never_above_the_mean_of_its_members(
    seed: int, num_members: int, scale: float
) -> None:
    members = draw_logits(seed, num_members, scale)
    truth = torch.from_numpy(np.random.default_rng(seed).integers(0, NUM_CLASSES, (1, 4, 5)))
    logits = Ensemble(map(Constant, members))(torch.zeros(1, 3, 4, 5))
    of_members = [F.cross_entropy(member[None], truth, reduction="none") for member in members]
    mean = torch.stack(of_members).mean(dim=0)
    assert (F.cross_entropy(logits, truth, reduction="none") <= mean + 1e-5 * (1 + mean)).all()


@given(seeds, st.permutations(range(4)), scales)
def test_order_of_the_members_has_no_effect(seed: int, order: list[int], scale: float) -> None:
    members = draw_logits(seed, 4, scale)
    images = torch.zeros(1, 3, 4, 5)
    first = Ensemble(map(Constant, members))(images)
    second = Ensemble(Constant(members[index]) for index in order)(images)
    assert torch.allclose(first, second, atol=1e-5, rtol=1e-6)


def test_ensemble_of_equal_networks_is_the_network() -> None:
    (logits,) = draw_logits(0, 1, 3.0)
    found = Ensemble([Constant(logits)] * 5)(torch.zeros(1, 3, 4, 5))[0]
    assert torch.allclose(found, logits.log_softmax(dim=0), atol=1e-6)


def test_members_with_certain_and_opposite_predictions_are_averaged_without_underflow() -> None:
    logits = torch.tensor([200.0, -200.0, -200.0]).view(3, 1, 1)
    found = Ensemble([Constant(logits), Constant(logits.flip(0))])(torch.zeros(1, 3, 1, 1)).flatten()
    assert found.tolist() == pytest.approx([-math.log(2), -400 - math.log(2) + math.log(2), -math.log(2)])


def build_small_network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    model = UNetModel(
        family="unet", base_channels=4, depth=2, upsampling="transpose", skip_connections="concat", norm="batch",
        dropout=0.0,
    )  # fmt: skip
    return build_network(model, channels=3, classes=NUM_CLASSES).eval()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_ensemble_and_flip_average_compute_probabilities_in_float32(precision: str) -> None:
    networks = [build_small_network(seed) for seed in range(2)]
    images = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode(), autocast_context(precision, torch.device("cpu")):  # type: ignore[arg-type]
        members = [network(images).float().softmax(dim=1) for network in networks]
        flipped = networks[0](images.flip(-1)).float().softmax(dim=1).flip(-1)
        ensemble, average = Ensemble(networks)(images), FlipAverage(networks[0])(images)
    for logits, parts in ((ensemble, members), (average, [members[0], flipped])):
        assert logits.dtype == torch.float32
        # A mean of two numbers in bfloat16, with its 8 bits, would differ by up to 0.002.
        assert torch.allclose(logits.exp(), torch.stack(parts).mean(dim=0), atol=1e-6)


def test_flip_average_of_a_flipped_image_is_the_flipped_prediction() -> None:
    network = FlipAverage(build_small_network(0))
    images = torch.rand(1, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.allclose(network(images.flip(-1)), network(images).flip(-1), atol=1e-6)


def test_member_outputs_are_the_ensemble_its_mean_and_each_member() -> None:
    members = draw_logits(3, 3, 2.0)
    ensemble = Ensemble(map(Constant, members), 0.8)
    images = torch.zeros(2, 3, 4, 5)
    outputs = MemberOutputs(ensemble)(images)
    assert outputs.shape == (2, 5 * NUM_CLASSES, 4, 5)
    assert torch.equal(outputs[:, :NUM_CLASSES], ensemble(images))
    assert torch.equal(outputs[:, NUM_CLASSES : 2 * NUM_CLASSES], Ensemble(map(Constant, members))(images))
    for place, logits in enumerate(members, start=2):
        found = outputs[0, place * NUM_CLASSES : (place + 1) * NUM_CLASSES]
        assert torch.allclose(found, logits.log_softmax(dim=0), atol=1e-6)
