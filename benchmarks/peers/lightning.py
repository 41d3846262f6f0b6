"""PyTorch Lightning: a module, a data set with torchvision's transforms for each sample, a loader, a trainer."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import lightning
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from benchmarks.peers.pace import Pace
from benchmarks.workload import BATCH, made_up, usual_network

IMAGES = 100 * BATCH  # an epoch, long enough that none ends while it is measured


class Module(lightning.LightningModule):
    """A network, cross-entropy and AdamW."""

    def __init__(self, network: nn.Module, channels_last: bool) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last) if channels_last else network
        self.channels_last = channels_last

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """A batch's loss."""
        images, masks = batch
        if self.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        return F.cross_entropy(self.network(images), masks)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """As most would choose it."""
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


class Samples(Dataset[tuple[Tensor, Tensor]]):
    """The same changes as ours, image and mask together, a sample at a time."""

    def __init__(self) -> None:
        self.split = made_up(BATCH)
        self.transform = v2.Compose(
            [
                v2.RandomHorizontalFlip(),
                v2.RandomAffine(degrees=15, translate=(0.1, 0.1), scale=(0.8, 1.25)),
                v2.ColorJitter(brightness=0.1, contrast=0.2),
            ]
        )

    def __len__(self) -> int:
        return IMAGES

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        place %= BATCH
        image = tv_tensors.Image(torch.from_numpy(self.split.images[place]).permute(2, 0, 1))
        image, mask = self.transform(image, tv_tensors.Mask(torch.from_numpy(self.split.masks[place])))
        return image.float() / 255, mask.long()


class Watch(lightning.Callback):
    """Stops the training when there were enough steps."""

    def __init__(self) -> None:
        self.pace = Pace()

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """A step is over."""
        trainer.should_stop = self.pace.step()


def images_per_second(network: str, threads: int, precision: str) -> float:
    """In float32 with all defaults, or in bf16-mixed with channels_last."""
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(threads)
    lightning.seed_everything(0, verbose=False)
    mixed, watch = precision == "bfloat16", Watch()
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=1,
        precision="bf16-mixed" if mixed else "32-true",
        callbacks=[watch],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(
        Module(usual_network(network), channels_last=mixed), DataLoader(Samples(), batch_size=BATCH, shuffle=True)
    )
    return watch.pace.images_per_second(BATCH)
