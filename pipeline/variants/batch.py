"""Check before training that a network can be trained on batches of the size that the data allows."""

from __future__ import annotations

import torch

from pipeline.errors import PipelineError
from pipeline.models.factory import build_network
from pipeline.params import Cell
from pipeline.params.import_path import describe_error
from pipeline.params.model import CustomModel

ENOUGH = 2  # images: normalization layers of the built-in families work on any larger batch too


def check_batch(cell: Cell, training_images: int, size: int, channels: int, classes: int) -> None:
    """Run one blank batch in training mode through a network of its own, which is then discarded.

    Normalization layers cannot standardize a single value per channel, as it occurs behind global pooling, or at the
    bottom of a deep network on small images, in a batch of one image. Only such batches, and users' own networks, are
    tried.

    Args:
        cell: whose network to try.
        training_images: how many the run sees.
        size: height and width of an image, px.
        channels: of an image.
        classes: of a mask.

    Raises:
        PipelineError: The network refuses such a batch.
    """
    batch = min(cell.train.batch_size, training_images)
    if batch >= ENOUGH and not isinstance(cell.model, CustomModel):
        return
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        network = build_network(cell.model, channels, classes).train()
        try:
            network(torch.zeros(min(batch, ENOUGH), channels, size, size))
        except (Exception, SystemExit) as error:
            raise PipelineError(_message(cell, training_images, size, error)) from error


def _message(cell: Cell, training_images: int, size: int, error: BaseException) -> str:
    shape = f"{size} x {size} px"
    where = f"variants.{cell.variant}: model:"
    if "Expected more than 1 value per channel" in str(error) and training_images < ENOUGH:
        return (
            f"{where} the training split has {training_images} image, so train.batch_size: {cell.train.batch_size} "
            f"gives batches of 1 image of {shape}, in which a normalization layer of this network has only 1 value per "
            "channel and cannot be trained. Train on 2 images or more (add images, or give validation and test fewer), "
            "or choose a network without global pooling or with fewer downsamplings, such as family: unet."
        )
    return (
        f"{where} the network cannot be trained on images of {shape}: in training mode it raised "
        f"{describe_error(error)}. Change the network or data.image_size."
    )
