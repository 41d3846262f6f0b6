"""Masks that a network contradicts: counts of pixels, and the files of an evaluation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.analysis.label_errors import WrongPixels
from pipeline.artifacts.evaluation_folder import EvaluationFolder
from pipeline.artifacts.prepared_data import PreparedData
from pipeline.evaluate.contradictions import MAX_KEPT, ContradictionCollector, select_contradicted
from pipeline.evaluate.evaluate_run import evaluate_run
from pipeline.imaging import IGNORE
from pipeline.inference.prediction import PixelPredictions
from pipeline.params.file import read_params
from tests.conftest import TRAINED

CLASSES = 3


def make_pixels(first: int = 0, images: int = 4, height: int = 6) -> PixelPredictions:
    torch.manual_seed(first)
    log_probs = torch.randn(images, CLASSES, height, 5).log_softmax(dim=1)
    truth = torch.randint(0, CLASSES, (images, height, 5))
    truth[:, 0, 0] = IGNORE
    confidence, predicted = log_probs.max(dim=1)
    losses = torch.nn.functional.nll_loss(log_probs, truth, ignore_index=IGNORE, reduction="none")
    return PixelPredictions(first, truth, predicted, confidence.exp(), losses)


def list_pixels(pixels: WrongPixels) -> list[tuple[int, int, float]]:
    return list(zip(pixels.image.tolist(), pixels.predicted.tolist(), pixels.confidence.tolist(), strict=True))


def test_collector_lists_wrong_pixels_with_predicted_class_and_confidence() -> None:
    collector, pixels = ContradictionCollector(CLASSES), make_pixels(first=2)
    collector(pixels)
    expected = []
    probs = [[], [], []]
    for image, row, column in np.ndindex(*pixels.truth.shape):
        true, predicted, confidence, loss = (
            values[image, row, column].item()
            for values in (pixels.truth, pixels.predicted, pixels.confidence, pixels.losses)
        )
        if true != IGNORE:
            probs[int(true)].append(np.exp(-loss))
            if predicted != true:
                expected.append((2 + image, int(predicted), confidence))
    found = collector.get_pixels()
    assert list_pixels(found) == expected
    assert found.mask_probs == pytest.approx([sum(values) for values in probs], rel=1e-5)


def test_sums_of_many_pixels_are_exact() -> None:
    # In float32, small terms are lost as the sum grows.
    shape, loss = (1, 1000, 2000), 3.0
    zeros, collector = torch.zeros(shape, dtype=torch.int64), ContradictionCollector(CLASSES)
    collector(PixelPredictions(0, zeros, zeros, torch.full(shape, 0.5), torch.full(shape, loss)))
    assert collector.get_pixels().mask_probs[0] == pytest.approx(zeros.numel() * np.exp(-loss), rel=1e-6)


def test_collector_adds_the_rows_of_an_image() -> None:
    whole, parts, pixels = ContradictionCollector(CLASSES), ContradictionCollector(CLASSES), make_pixels(images=1)
    whole(pixels)
    for rows in (slice(0, 2), slice(2, 6)):
        values = (pixels.truth, pixels.predicted, pixels.confidence, pixels.losses)
        parts(PixelPredictions(0, *(one[:, rows] for one in values)))
    assert list_pixels(parts.get_pixels()) == list_pixels(whole.get_pixels())
    assert parts.get_pixels().mask_probs == pytest.approx(whole.get_pixels().mask_probs)


def test_select_contradicted_takes_the_highest_scores_above_the_limit() -> None:
    assert select_contradicted(np.array([0.3, np.nan, 0.9, 0.1])).tolist() == [2, 0]
    assert len(select_contradicted(np.full(100, 0.5))) == MAX_KEPT
    assert len(select_contradicted(np.array([0.1, np.nan]))) == 0


@pytest.mark.parametrize("source", ["composites", "image_mask_folder"])
def test_evaluate_run_checks_masks_only_if_they_can_be_wrong(trained_copy: Path, source: str) -> None:
    classes = trained_copy / "data/prepared/classes.json"
    classes.write_text(json.dumps({**json.loads(classes.read_text()), "source": source}))
    evaluate_run(read_params(), TRAINED)
    folder = EvaluationFolder(trained_copy / "evaluation" / TRAINED)
    table, samples = folder.read_contradictions(), PreparedData(trained_copy / "data/prepared").samples
    if source == "composites":
        assert table.empty
        assert not (folder.path / folder.CONTRADICTED).exists()
        return
    checked = samples[samples["split"].isin(["train", "validation"])]
    assert sorted(zip(table["id"], table["split"], strict=True)) == sorted(
        zip(checked["id"], checked["split"], strict=True)
    )
    assert table["score"].between(0, 1).all()
    high = set(table.loc[table["score"] >= 0.25, "id"])
    assert high  # the tiny network contradicts some masks
    kept = {path.stem for path in (folder.path / folder.CONTRADICTED).glob("*.png")}
    assert kept == high
    assert all(mask is not None and mask.shape == (32, 32) for mask in map(folder.read_contradicted, kept))
    assert folder.read_contradicted("unknown") is None
