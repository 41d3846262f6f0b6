"""Predict class probabilities with a network that was exported to ONNX."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..imaging.windows import Window, cut_window
from .preprocessing import Probs
from .tiles import Tiles


def predict_probs(
    session: Any, inputs: Iterable[NDArray[Any]], num_classes: int, tiles: Tiles | None, batch_size: int
) -> Iterator[Probs]:
    """Predict the class probabilities of each input, classes x H x W, with an ONNX Runtime session.

    Inputs are images H x W x channels, uint8 or uint16. They must have the network's input size unless `tiles` are
    given.
    """
    if tiles is None:
        yield from _run_batches(session, inputs, batch_size)
        return
    for image in inputs:

        def predict(windows: Sequence[Window], image: NDArray[Any] = image) -> Iterator[Probs]:
            for probs in _run_batches(session, (cut_window(image, window) for window in windows), batch_size):
                yield np.log(np.maximum(probs, np.finfo(np.float32).tiny))

        # Blended log-probabilities differ from blended logits by a constant per pixel, which the division removes.
        strips = tiles.cover(image.shape).predict_strips(predict, num_classes, np.asarray)
        blended = np.exp(np.concatenate([log_probs for _, log_probs in strips], axis=1))
        yield blended / blended.sum(axis=0)


def _run_batches(session: Any, inputs: Iterable[NDArray[Any]], batch_size: int) -> Iterator[Probs]:
    (name,) = (item.name for item in session.get_inputs())
    rest = iter(inputs)
    while batch := list(islice(rest, batch_size)):
        stacked = np.stack(batch)
        images = stacked.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(np.iinfo(stacked.dtype).max)
        yield from session.run(None, {name: images})[0]
