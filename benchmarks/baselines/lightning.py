"""Measure the throughput of PyTorch Lightning, with a data loader and torchvision transforms per sample."""

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

from benchmarks.networks import Workload, build_baseline_network, create_random_split
from benchmarks.step_timer import StepTimer

NUM_STEPS = 2000  # per epoch, so that no epoch ends during the measurement


class SegmentationModule(lightning.LightningModule):
    """A network with cross-entropy and AdamW."""

    def __init__(self, network: nn.Module, channels_last: bool) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last) if channels_last else network
        self.channels_last = channels_last

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """Compute the loss of a batch."""
        images, masks = batch
        if self.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        return F.cross_entropy(self.network(images), masks)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Create AdamW with its defaults."""
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


class AugmentedDataset(Dataset[tuple[Tensor, Tensor]]):
    """Random images with this project's default augmentation, applied to image and mask of one sample at a time."""

    def __init__(self, workload: Workload) -> None:
        self.split = create_random_split(workload.batch_size, workload.image_size)
        self.transform = v2.Compose(
            [
                v2.RandomHorizontalFlip(),
                v2.RandomAffine(degrees=15, translate=(0.1, 0.1), scale=(0.8, 1.25)),
                v2.ColorJitter(brightness=0.1, contrast=0.2),
            ]
        )

    def __len__(self) -> int:
        return NUM_STEPS * len(self.split)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        index %= len(self.split)
        image = tv_tensors.Image(torch.from_numpy(self.split.images[index]).permute(2, 0, 1))
        image, mask = self.transform(image, tv_tensors.Mask(torch.from_numpy(self.split.masks[index])))
        return image.float() / 255, mask.long()


class StepTimerCallback(lightning.Callback):
    """Callback that stops the training when the measurement is complete."""

    def __init__(self, timer: StepTimer) -> None:
        self.timer = timer

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Record a step."""
        trainer.should_stop = self.timer.record_step()


def measure_images_per_second(network: str, workload: Workload, precision: str) -> float:
    """Train in float32 with Lightning's defaults, or in bf16-mixed with channels_last, and return the throughput."""
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(workload.num_threads)
    lightning.seed_everything(0, verbose=False)
    is_mixed, callback = precision == "bfloat16", StepTimerCallback(workload.create_timer())
    trainer = lightning.Trainer(
        accelerator=workload.device,
        devices=1,
        max_epochs=1,
        precision="bf16-mixed" if is_mixed else "32-true",
        callbacks=[callback],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    module = SegmentationModule(build_baseline_network(network), channels_last=is_mixed)
    loader = DataLoader(
        AugmentedDataset(workload),
        batch_size=workload.batch_size,
        shuffle=True,
        num_workers=workload.num_loaders,
        pin_memory=workload.device == "cuda",
    )
    trainer.fit(module, loader)
    return callback.timer.compute_images_per_second(workload.batch_size)
