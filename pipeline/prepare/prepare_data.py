"""The `prepare` stage: read a source, check it, and write the arrays and tables that every run uses."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from pipeline.artifacts.prepared_data import SHOWCASE, SPLITS, Dataset, PreparedData, SegmentationClass
from pipeline.artifacts.project import PREPARED
from pipeline.params import Params
from pipeline.params.data import Data
from pipeline.params.data.composites import CompositesData
from pipeline.params.data.image_data import FolderData, GeoVectorsData, HuggingFaceData, ImageSource, OxfordPetsData
from pipeline.params.data.input_keys import list_input_keys
from pipeline.prepare.check_splits import check_splits
from pipeline.prepare.data_folder import open_data_folder
from pipeline.prepare.dataset_stats import add_mask_notices
from pipeline.prepare.image_mask_pair import PairCollection
from pipeline.prepare.sample import Sample
from pipeline.prepare.sample_ids import to_csv_cell
from pipeline.prepare.source import Source, SourceData
from pipeline.prepare.sources.annotated import collect_annotated
from pipeline.prepare.sources.composites import CompositeSource
from pipeline.prepare.sources.cross_domain import CrossDomainSource
from pipeline.prepare.sources.folder import collect_folder
from pipeline.prepare.sources.geo_vectors import collect_geo_vectors
from pipeline.prepare.sources.hugging_face import collect_hugging_face
from pipeline.prepare.sources.image_mask import ImageMaskSource
from pipeline.prepare.sources.oxford_pets import collect_pets

FOLDERS = (*SPLITS, SHOWCASE)
_BLOCK_BYTES = 1 << 20
_FOLD = PreparedData.SAMPLE_COLUMNS.index("fold")
HEADER_BYTES = 128  # of a .npy file with up to four dimensions


def create_source(data: Data) -> Source:
    """Create the source that the `data` section describes.

    Raises:
        PipelineError: Files of the source are missing, or its splits are invalid.
    """
    if isinstance(data, CompositesData):
        return CompositeSource(data) if data.external_test is None else CrossDomainSource(data, data.external_test)
    return ImageMaskSource(data, collect_pairs(data))


def collect_pairs(data: ImageSource) -> PairCollection:
    """Collect the image-mask pairs of a source. Raise `PipelineError` if files are missing."""
    if isinstance(data, OxfordPetsData):
        path = Path(data.path)
        return collect_pets(open_data_folder(path, "data.path") if path.is_file() else path)
    classes = [SegmentationClass(one.name, one.color, one.foreground, one.is_boundary) for one in data.classes]
    if isinstance(data, GeoVectorsData):
        return collect_geo_vectors(data, classes)
    if isinstance(data, HuggingFaceData):
        return collect_hugging_face(data, classes)
    return collect_folder(data, classes, "data") if isinstance(data, FolderData) else collect_annotated(data, classes)


def prepare(params: Params, out: Path = PREPARED) -> Dataset:
    """Write the prepared data to `out`, completely or not at all.

    The same parameters and files always produce the same bytes.

    Raises:
        PipelineError: The source is missing or invalid, or a split is empty.
    """
    return write_source(create_source(params.data), params.data, out)


def write_source(source: Source, section: Data, out: Path) -> Dataset:
    """Write the splits and the showcase of a source to `out`; `section` is the `data` section that describes it."""
    with PreparedData(out).replace() as prepared:
        data = _write_arrays(source, prepared)
        check_splits(data)
        folds = () if data.folds is None else (row[_FOLD] for row in data.rows())
        dataset = Dataset(
            source=section.source,
            title=data.title,
            credit=data.credit,
            classes=tuple(data.classes),
            fingerprint=_compute_fingerprint(prepared, folds, data.classes),
            folds=data.folds,
            input_keys=list_input_keys(section, is_native=section.size is None),
        )
        skipped = [(to_csv_cell(name), to_csv_cell(reason)) for name, reason in data.skipped]
        prepared.write_tables(dataset, add_mask_notices(data), data.rows(), skipped)
    return dataset


def _write_arrays(source: Source, prepared: PreparedData) -> SourceData:
    """Write each sample of a source as soon as it is decoded, so that memory use does not depend on their number."""
    with ExitStack() as files:
        writers: dict[str, list[NpyWriter]] = {}
        for split in FOLDERS:
            (prepared.path / split).mkdir()
            paths = (*prepared.array_paths(split), prepared.instances_path(split))
            writers[split] = [NpyWriter(path) for path in paths]
            for writer in writers[split]:
                files.callback(writer.close)

        def write(split: str, sample: Sample) -> None:
            images, masks, instances = writers[split]
            images.append(sample.image)
            masks.append(sample.mask)
            if sample.instances is not None:
                instances.append(sample.instances)

        return source.read(write)


def _compute_fingerprint(prepared: PreparedData, folds: Iterable[str], classes: Sequence[SegmentationClass]) -> str:
    """Hash what runs depend on: the arrays that networks learn from, the folds of all samples, and the classes.

    Names, types, shapes and contents of the arrays count, and all of the classes except their colors. The files are
    read in blocks instead of memory-mapped, because mapped pages count toward the process's memory.
    """
    digest = hashlib.sha256()
    paths = [path for split in FOLDERS for path in prepared.array_paths(split)]
    for path in (path for path in paths if path.exists()):  # with folds, no array of validation images exists
        with path.open("rb") as file:
            npy.read_magic(file)
            shape, _, dtype = npy.read_array_header_1_0(file)
            digest.update(f"{path.parent.name}/{path.name} {dtype.str} {shape}\n".encode())
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    digest.update("".join(f"{fold}\n" for fold in folds).encode())
    digest.update(json.dumps([[item.name, item.foreground, item.is_boundary] for item in classes]).encode())
    return digest.hexdigest()


class NpyWriter:
    """Writer that appends items to a `.npy` file in constant memory, in the layout of `PreparedData.IMAGES`.

    All items (H x W or H x W x C) must have the same type and number of channels. Without items, no file is created.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._dtype: np.dtype[Any] = np.dtype(np.uint8)
        self._channels: tuple[int, ...] = ()
        self._num_pixels = 0
        self._sizes: Counter[tuple[int, int]] = Counter()

    def append(self, item: NDArray[Any]) -> None:
        """Append an item to the file."""
        (height, width), channels = item.shape[:2], item.shape[2:]
        if self._file is None:
            self._file, self._dtype, self._channels = self._path.open("wb"), item.dtype, channels
            self._write_header(self._file)
        assert (channels, item.dtype) == (self._channels, self._dtype)
        self._file.write(np.ascontiguousarray(item).data)
        self._num_pixels += height * width
        self._sizes[height, width] += 1

    def close(self) -> None:
        """Write the shape into the header."""
        if self._file is not None:
            self._file.seek(0)
            self._write_header(self._file)
            self._file.close()

    def _write_header(self, file: BinaryIO) -> None:
        is_uniform = len(self._sizes) == 1
        pixels = (self._sizes.total(), *next(iter(self._sizes))) if is_uniform else (self._num_pixels,)
        header = {
            "descr": npy.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (*pixels, *self._channels),
        }
        npy.write_array_header_1_0(file, header)
        assert file.tell() == HEADER_BYTES  # numpy pads the header
