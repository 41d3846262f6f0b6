"""A trained run, or an ensemble of runs, ready to segment images."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from pipeline.artifacts.ensemble_folder import RUN_NAME, compute_ensemble_key
from pipeline.artifacts.prepared_data import Dataset, PreparedData, Split
from pipeline.artifacts.project import Project
from pipeline.artifacts.run_folder import Precision, RunRecord
from pipeline.errors import PipelineError
from pipeline.imaging import IGNORE
from pipeline.imaging.mask_to_classes import MaskEncoding
from pipeline.imaging.resize import FixedSize, Resizing
from pipeline.imaging.windows import WindowedImage
from pipeline.inference.prediction import (
    Prediction,
    create_tiles,
    predict_batches,
    predict_split,
    predict_strips,
)
from pipeline.inference.preprocessing import Preprocessing, Probs
from pipeline.inference.tiles import Tiles
from pipeline.models.ensemble import Ensemble, FlipAverage, MemberOutputs
from pipeline.models.factory import load_trained_network
from pipeline.params import Cell, Params
from pipeline.params.custom_code import CUSTOM
from pipeline.params.data import Data, find_mask_section
from pipeline.params.data.composites import CompositesData
from pipeline.params.data.fields import list_values
from pipeline.params.data.file_pattern import CLASS
from pipeline.params.data.image_data import (
    ExternalTestFolder,
    FolderData,
    HuggingFaceData,
    ImageMaskData,
    OxfordPetsData,
    Scenes,
    find_intensities,
    find_scenes,
)
from pipeline.params.data.input_keys import list_input_keys
from pipeline.params.model import CustomModel
from pipeline.params.run_config import read_run_config
from pipeline.wording import join_words

MAX_NAMED = 5  # members in a phrase


@dataclass(frozen=True)
class TrainedRun:
    """A run's network, with the preprocessing, tiles and mask encoding needed for prediction.

    The network may also be the ensemble of several runs.
    """

    record: RunRecord  # for an ensemble, of the best run
    data: Dataset
    network: nn.Module
    preprocessing: Preprocessing
    tiles: Tiles | None  # tiles for images of native size; None if the network sees whole images
    encoding: MaskEncoding  # mask values of the classes, in the user's masks and in predicted masks
    num_train_images: int  # number of images in the training split, or in all folds; the run may use fewer
    scenes: Scenes | None = None  # how GeoTIFFs are read; None if the images are not scenes
    members: tuple[RunRecord, ...] = ()  # of an ensemble; empty for a run

    @classmethod
    def load(cls, params: Params, run: str, project: Project) -> TrainedRun:
        """Load a run of a project by its name.

        The name `best` stands for the median run of the best setting, and `ensemble` for all its runs, with the
        temperature that `pipeline ensemble` fitted. The `data` section of the parameters defines how images are
        resized, and the values of the masks.

        Raises:
            PipelineError: The run does not exist, was trained on different data, or with different parameters of the
                images and masks, its weights cannot be read, or it has a custom network of another project than that
                of the current folder. For the ensemble, also: the best setting has only one run, or the temperature is
                missing or of other runs.
        """
        if run == RUN_NAME:
            members = find_members(project)
            return cls.load_ensemble(params, members, project, project.read_ensemble_record().temperature.value)
        run = find_best_run(project) if run == "best" else run
        record, data = load_record(params, run, project)
        training = project.prepared.select_fold(record.fold).open_split("train")
        cell = read_run_config(record, project.run(run).path)
        _check_custom_code(cell, project)
        network = load_trained_network(project.run(run), channels=training.num_channels, classes=len(data.classes))
        return cls(
            record=record,
            data=data,
            network=network,
            preprocessing=_create_preprocessing(params.data, training, is_patched=cell.train.patch is not None),
            tiles=create_tiles(cell, params.evaluation.tile_overlap),
            encoding=_create_mask_encoding(params.data, data.class_names),
            num_train_images=len(training),
            scenes=find_scenes(params.data),
        )

    @classmethod
    def load_ensemble(
        cls, params: Params, names: Sequence[str], project: Project, temperature: float = 1.0
    ) -> TrainedRun:
        """Load the ensemble of the runs of the best setting, with a given temperature.

        Raises:
            PipelineError: As for `load`.
        """
        members = [cls.load(params, name, project) for name in names]
        best = find_best_run(project)
        return replace(
            next(member for member in members if member.record.run == best),
            network=Ensemble((member.network for member in members), temperature).eval(),
            num_train_images=len(project.prepared.open_split("train")),
            members=tuple(member.record for member in members),
        )

    @property
    def ensemble(self) -> Ensemble:
        """The network as an ensemble; that of a run has one member."""
        return self.network if isinstance(self.network, Ensemble) else Ensemble([self.network]).eval()

    @property
    def member_outputs(self) -> MemberOutputs:
        """A network that predicts like the ensemble, its members' mean and each member; a run has one member."""
        return MemberOutputs(self.ensemble).eval()

    @property
    def name(self) -> str:
        """Name of the run, or `ensemble`."""
        return RUN_NAME if self.members else self.record.run

    def describe(self) -> str:
        """Return the name of the run, or `ensemble of` and the names of its members."""
        if not self.members:
            return self.record.run
        return f"{RUN_NAME} of {join_words([one.run for one in self.members], MAX_NAMED)}"

    @property
    def key(self) -> str:
        """The run key; for an ensemble, a hash of the run keys of its members and of its temperature."""
        if not self.members:
            return self.record.key
        return compute_ensemble_key((one.key for one in self.members), self.ensemble.temperature)

    @property
    def precision(self) -> Precision:
        """Precision of the convolutions; for an ensemble, float32 unless all members were trained in bfloat16."""
        used = {one.precision for one in self.members or (self.record,)}
        return "bfloat16" if used == {"bfloat16"} else "float32"

    def average_flips(self) -> TrainedRun:
        """Return a run that predicts an image and its horizontal flip, and averages the class probabilities.

        For an ensemble, all these probabilities are averaged before they are divided by the temperature, which was
        fitted without flips.
        """
        if isinstance(self.network, Ensemble):
            flipped = Ensemble(map(FlipAverage, self.network.members), self.network.temperature)
            return replace(self, network=flipped.eval())
        return replace(self, network=FlipAverage(self.network).eval())

    def with_temperature(self, temperature: float) -> TrainedRun:
        """Return an ensemble with another temperature."""
        return replace(self, network=Ensemble(self.ensemble.members, temperature).eval())

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width in px of the network's input, which is a whole image or a tile."""
        if self.tiles is not None:
            return self.tiles.size
        assert isinstance(self.preprocessing.resizing, FixedSize)
        return self.preprocessing.resizing.size

    @property
    def channel_names(self) -> str:
        """Names of the channels: the bands of scenes, `gray`, `RGB`, or `as in the images`.

        Three channels of 16 bits, or of scenes, need not be RGB.
        """
        if self.scenes is not None and self.scenes.bands:
            return f"bands {', '.join(map(str, self.scenes.bands))}"
        channels, bits = self.preprocessing.channels, self.preprocessing.bits
        if channels == 1:
            return "gray"
        return "RGB" if (channels, bits) == (3, 8) and self.scenes is None else "as in the images"

    def predict_batch(self, inputs: Sequence[NDArray[Any]]) -> Iterator[Probs]:
        """Predict class probabilities (classes x H x W) for network inputs (H x W x channels) of the same size."""
        for log_probs, _ in predict_batches(self.network, _create_split(inputs), self.precision):
            yield from log_probs.exp().cpu().numpy()

    def predict_strips(self, image: WindowedImage, tiles: Tiles) -> Iterator[Probs]:
        """Predict class probabilities (classes x rows x W) from top to bottom for a network input of any size."""
        strips = predict_strips(self.network, image, tiles, len(self.data.classes), self.precision)
        return (log_probs.exp().cpu().numpy() for _, log_probs in strips)

    def predict_member_batch(self, inputs: Sequence[NDArray[Any]]) -> Iterator[Probs]:
        """Predict like `predict_batch`, and also each member of the ensemble.

        Yields:
            Class probabilities of the ensemble, of its members' mean and of each member, (2 + members) x classes x H x
            W. A run is an ensemble of one member.
        """
        for log_probs, _ in predict_batches(self.member_outputs, _create_split(inputs), self.precision):
            yield from log_probs.exp().cpu().numpy()

    def predict_member_strips(self, image: WindowedImage, tiles: Tiles) -> Iterator[Probs]:
        """Predict like `predict_strips`, and also the members: (2 + members) x classes x rows x W."""
        strips = predict_strips(self.member_outputs, image, tiles, len(self.data.classes), self.precision)
        return (log_probs.exp().cpu().numpy() for _, log_probs in strips)

    def predict_split(self, split: Split) -> Prediction:
        """Predict a split and compare it with its ground truth."""
        return predict_split(self.network, split, len(self.data.classes), self.precision, tiles=self.tiles)

    def predict_image(self, network_input: NDArray[Any], truth: NDArray[np.uint8] | None) -> Prediction:
        """Predict a network input (H x W x channels), and compare it with its ground truth (H x W), if any."""
        return self.predict_split(_create_split([network_input], truth))


def find_best_run(project: Project) -> str:
    """Find the median run of the best setting, by the metric that settings are ranked by.

    Raises:
        PipelineError: No setting has finished all its seeds.
    """
    best = project.comparison.summary.best
    if best is None:
        raise PipelineError(
            "--run best: there is no best run, because no learning rate has finished all its seeds. Name a run, such "
            "as --run unet-0.004-0"
        )
    return best.run


def find_members(project: Project) -> list[str]:
    """Find the runs of the ensemble: all runs of the best setting.

    Raises:
        PipelineError: No setting has finished all its seeds, or the best one has only one run.
    """
    summary = project.comparison.summary
    if reason := summary.explain_missing_ensemble():
        raise PipelineError(f"{reason} Name a run, or add seeds and run `{project.make_command('report')}`.")
    return [row.run for row in summary.list_ensemble()]


def load_record(params: Params, run: str, project: Project) -> tuple[RunRecord, Dataset]:
    """Load a run's record and the prepared data that it was trained on.

    Raises:
        PipelineError: A file is missing or broken, the run was trained on different data, the data was prepared by an
            earlier version, or a parameter that defines how images are read, or what mask values mean, has changed
            since the data was prepared.
    """
    folder = project.run(run)
    record, data = folder.record, project.prepared.dataset
    if record.data_fingerprint != data.fingerprint:
        raise PipelineError(
            f"The data in {project.prepared.path} has changed since {folder.path} was trained. Train the run again: "
            f"{project.make_command('report')}"
        )
    used = data.input_keys
    if not used:
        raise PipelineError(
            f"{project.prepared.display(PreparedData.CLASSES)}: has no input_keys, because the data was prepared by an "
            f"earlier version. Prepare it again: {project.prepared.redo_command}"
        )
    current = list_input_keys(params.data, is_native="data.resize" not in used)
    for key in {**used, **current}:
        old, new = _format_value(used, key), _format_value(current, key)
        if old != new:
            raise PipelineError(
                f"{key}: changed from {old} to {new} after the training data of {run} was prepared. Restore the value, "
                f"or prepare the data and train again: {project.make_command('report')}"
            )
    return record, data


def _format_value(values: Mapping[str, Any], key: str) -> str:
    return json.dumps(values[key], ensure_ascii=False) if key in values else "not set"


def _check_custom_code(cell: Cell, project: Project) -> None:
    """Raise `PipelineError` for a custom network of another project; its code would be that of the current folder."""
    home = project.home.resolve()
    if isinstance(cell.model, CustomModel) and home != Project().home.resolve():
        raise PipelineError(
            f"{cell.name} has a custom network, whose code is in {home / CUSTOM}. Start Python in {home}, so that this "
            "code is used."
        )


def _create_preprocessing(data: Data, training: Split, *, is_patched: bool) -> Preprocessing:
    """Create the preprocessing that a training split's images went through; patches are cut from images of any size."""
    downscale = data.downscale if isinstance(data, ImageMaskData) else 1.0
    intensities, scenes = find_intensities(data), find_scenes(data)
    return Preprocessing(
        resizing=Resizing.create(None if is_patched else training.size, data.resize, downscale),
        channels=training.num_channels,
        bits=8 * training.images.dtype.itemsize,
        selects_bands=scenes is not None and scenes.bands is not None,
        scales_intensities=intensities is not None and intensities.window is not None,
    )


def _create_mask_encoding(data: Data, class_names: Sequence[str]) -> MaskEncoding:
    """Create the encoding of masks, with class indices if the data source defines no mask values.

    With numbered objects, the values are those of the three classes to which masks are converted.
    """
    folder = find_mask_section(data)
    if isinstance(folder, ExternalTestFolder | FolderData | HuggingFaceData) and folder.mask_part != CLASS:
        by_name = {item.name: list_values(item.mask_value) for item in folder.classes}
        values = [by_name[name] for name in class_names]
        return MaskEncoding.from_values(values, list_values(folder.ignore_value), folder.mask_threshold)
    first = 1 if isinstance(data, OxfordPetsData) else 0  # Oxford's trimaps count from 1
    ignored = (IGNORE,) if isinstance(data, CompositesData) else ()
    return MaskEncoding.from_values([(first + index,) for index in range(len(class_names))], ignored)


def _create_split(inputs: Sequence[NDArray[Any]], truth: NDArray[np.uint8] | None = None) -> Split:
    images = np.stack(inputs)
    return Split.of(images, np.broadcast_to(np.uint8(IGNORE) if truth is None else truth, images.shape[:3]))
