"""OME-Zarr images of both versions: slices, labels, written masks, missing chunks, and hostile metadata."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import PipelineError
from pipeline.imaging.errors import ImageError
from pipeline.imaging.pixel_size import PixelSize
from pipeline.volumes.ome_zarr import OmeZarr, write_ome_zarr_mask
from tests.optional import import_or_skip
from tests.series import write_ome_zarr

zarr = import_or_skip("zarr")

VERSIONS = ("0.4", "0.5")
SIDES = {"t": 3, "c": 2, "z": 5, "y": 6, "x": 7}


def create_values(axes: str = "zyx", **sides: int) -> np.ndarray:
    shape = tuple({**SIDES, **sides}[name] for name in axes)
    return np.random.default_rng(0).integers(1, 250, shape, np.uint16)


def read_slices(path: Path, axis: str = "z") -> np.ndarray:
    volume = OmeZarr(path, axis)
    return np.stack([volume.read_slice(index).values for index in range(volume.num_slices)])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("axes", "axis", "sides"),
    [("zyx", "z", {}), ("czyx", "z", {}), ("tczyx", "z", {"t": 1}), ("tczyx", "t", {"z": 1}), ("tyx", "t", {}),
     ("yx", "z", {}), ("cyx", "z", {}), ("xyz", "z", {})],
)  # fmt: skip
def test_slices_are_those_of_the_array(
    version: str, axes: str, axis: str, sides: dict[str, int], tmp_path: Path
) -> None:
    values = create_values(axes, **sides)
    path = write_ome_zarr(tmp_path / "scan.zarr", values, version, axes)
    where = {name: place for place, name in enumerate(axes)}
    full = values.reshape(*values.shape, *[1] * sum(name not in where for name in "tczyx"))
    for place, name in enumerate(name for name in "tczyx" if name not in where):
        where[name] = values.ndim + place
    other = next(name for name in "zt" if name != axis)
    expected = full.transpose([where[other], where[axis], where["y"], where["x"], where["c"]])[0]
    np.testing.assert_array_equal(read_slices(path, axis), expected)


@pytest.mark.parametrize("options", [{}, {"shards": (4, 6, 8), "chunks": (2, 3, 4)}, {"compressors": None}])
def test_pixel_size_and_chunks_of_zarr_3(options: dict[str, Any], tmp_path: Path) -> None:
    values = create_values()
    path = write_ome_zarr(tmp_path / "scan.zarr", values, "0.5", **options)
    np.testing.assert_array_equal(read_slices(path)[..., 0], values)
    pixel = OmeZarr(path, "z").pixel
    assert pixel is not None and pixel.size == PixelSize(0.5, 0.5, "µm")


@pytest.mark.parametrize("compressor", ["gzip", "zlib", "zstd", "blosc", "lz4"])
def test_compressors_of_zarr_2_are_decoded(compressor: str, tmp_path: Path) -> None:
    import numcodecs

    codec = numcodecs.get_codec({"id": compressor})
    path = write_ome_zarr(tmp_path / "scan.zarr", create_values(), "0.4", compressors=codec)
    np.testing.assert_array_equal(read_slices(path)[..., 0], create_values())


def test_image_of_bioformats2raw_is_found(tmp_path: Path) -> None:
    write_ome_zarr(tmp_path / "scan.zarr/0", create_values(), "0.4")
    (tmp_path / "scan.zarr/.zattrs").write_text('{"bioformats2raw.layout": 3}')
    np.testing.assert_array_equal(read_slices(tmp_path / "scan.zarr")[..., 0], create_values())
    (tmp_path / "scan.zarr/1").mkdir()
    with pytest.raises(ImageError, match="several images"):
        OmeZarr(tmp_path / "scan.zarr", "z")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("axes", "sides"), [("zyx", {}), ("tczyx", {"t": 1}), ("xyz", {})])
def test_written_mask_is_a_label_image_with_the_geometry(
    version: str, axes: str, sides: dict[str, int], tmp_path: Path
) -> None:
    source = OmeZarr(write_ome_zarr(tmp_path / "scan.zarr", create_values(axes, **sides), version, axes), "z")
    masks = np.random.default_rng(1).integers(0, 3, (5, 6, 7), np.uint8)
    palette = np.arange(768, dtype=np.uint8).reshape(256, 3)
    for _ in range(2):
        write_ome_zarr_mask(tmp_path / "out/mask.zarr", source, iter(masks), palette)
    mask = OmeZarr(tmp_path / "out/mask.zarr", "z")
    np.testing.assert_array_equal(read_slices(tmp_path / "out/mask.zarr")[..., 0], masks)
    assert mask.image.axes == tuple(axis for axis in source.image.axes if axis.name != "c")
    assert mask.image.zarr_format == source.image.zarr_format
    attributes = dict(zarr.open_group(tmp_path / "out/mask.zarr", mode="r").attrs)
    colors = attributes.get("ome", attributes)["image-label"]["colors"]
    assert [(one["label-value"], one["rgba"]) for one in colors][1] == (1, [3, 4, 5, 255])
    assert [one.name for one in (tmp_path / "out").iterdir()] == ["mask.zarr"]


@pytest.mark.parametrize("version", VERSIONS)
def test_missing_chunks_are_counted_and_have_the_fill_value(version: str, tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "scan.zarr", create_values(), version, chunks=(1, 6, 7))
    assert OmeZarr(path, "z").count_missing() == (0, 5)
    (path / "0" / ("2.0.0" if version == "0.4" else "c/2/0/0")).unlink()
    assert OmeZarr(path, "z").count_missing() == (1, 5)
    expected = create_values()
    expected[2] = 0
    np.testing.assert_array_equal(read_slices(path)[..., 0], expected)


def test_only_the_chunks_of_a_slice_are_read(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "scan.zarr", np.zeros((40, 1000, 1000), np.uint8), chunks=(1, 500, 500))
    volume = OmeZarr(path, "z")
    volume.read_slice(0)
    tracemalloc.start()
    volume.read_slice(7)
    assert tracemalloc.get_traced_memory()[1] < 8_000_000
    tracemalloc.stop()


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def set_path(text: object) -> Callable[[Path], None]:
    """Set the path of the first dataset."""
    return lambda folder: edit(
        folder / ".zattrs", lambda content: content["multiscales"][0]["datasets"][0].update(path=text)
    )


def set_array(**fields: Any) -> Callable[[Path], None]:
    return lambda folder: edit(folder / "0/.zarray", lambda content: content.update(fields))


def set_axes(*names: str) -> Callable[[Path], None]:
    axes = [{"name": name} for name in names]
    return lambda folder: edit(folder / ".zattrs", lambda content: content["multiscales"][0].update(axes=axes))


def set_scale(scale: Any) -> Callable[[Path], None]:
    transformations = [{"type": "scale", "scale": scale}]
    return lambda folder: edit(
        folder / ".zattrs",
        lambda content: content["multiscales"][0]["datasets"][0].update(coordinateTransformations=transformations),
    )


def write_chunk(content: bytes, **fields: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        set_array(**fields)(folder)
        (folder / "0/0.0.0").write_bytes(content)

    return change


def link_array(target: Callable[[Path], Path]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        shutil.move(folder / "0", folder.parent / "elsewhere")
        (folder / "0").symlink_to(target(folder))

    return change


def make_pipe(folder: Path) -> None:
    (folder / "0/0.0.0").unlink()
    os.mkfifo(folder / "0/0.0.0")


ZSTD_TERABYTE = b"\x28\xb5\x2f\xfd\xe0" + (10**12).to_bytes(8, "little") + b"\x01\x00\x00"
ZSTD_BLOCKS = b"\x28\xb5\x2f\xfd\x00\x58" + b"\x02\x00\x10\x00" * 100_000  # RLE blocks without a declared size
HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no metadata": (lambda folder: (folder / ".zattrs").unlink(), "neither .zattrs nor zarr.json"),
    "broken attributes": (lambda folder: (folder / ".zattrs").write_text("{"), "broken .zattrs"),
    "list of attributes": (lambda folder: (folder / ".zattrs").write_text("[]"), "broken .zattrs"),
    "deep attributes": (lambda folder: (folder / ".zattrs").write_text("[" * 100_000), "broken .zattrs"),
    "no multiscales": (lambda folder: (folder / ".zattrs").write_text("{}"), "no multiscales"),
    "empty multiscales": (lambda folder: (folder / ".zattrs").write_text('{"multiscales": [{}]}'), "no datasets"),
    "plate": (lambda folder: (folder / ".zattrs").write_text('{"plate": {}}'), "is a plate"),
    "relative path": (set_path("../../etc"), "not inside"),
    "path of a neighbor": (set_path("../other.zarr/0"), "not inside"),
    "absolute path": (set_path("/etc"), "not inside"),
    "number as path": (set_path(0), "path '0'"),
    "missing path": (set_path("7"), "no folder '7'"),
    "long path": (set_path("a" * 100_000), "path 'aaa"),
    "link to elsewhere": (link_array(lambda folder: folder.parent / "elsewhere"), "not inside"),
    "loop of links": (link_array(lambda folder: folder / "0"), "not inside"),
    "broken array": (lambda folder: (folder / "0/.zarray").write_text("null"), "broken .zarray"),
    "no array": (lambda folder: (folder / "0/.zarray").unlink(), "no .zarray"),
    "objects": (set_array(dtype="|O", filters=[{"id": "pickle"}]), "codec 'pickle'"),
    "objects without filters": (set_array(dtype="|O"), "type |O"),
    "records": (set_array(dtype=[["a", "<i4"]]), "values of type"),
    "text values": (set_array(dtype="<U4"), "type <U4"),
    "unknown codec": (set_array(compressor={"id": "jpegxl"}), "codec 'jpegxl'"),
    "unknown filter": (set_array(filters=[{"id": "vlen-utf8"}]), "codec 'vlen-utf8'"),
    "enormous shape": (set_array(shape=[10**12, 6, 7]), "has 1,000,000,000,000 slices"),
    "enormous slices": (set_array(shape=[5, 10**9, 10**9]), "has slices of"),
    "enormous chunks": (set_array(chunks=[5, 10**9, 10**9]), "has chunks of"),
    "negative shape": (set_array(shape=[-5, 6, 7]), "broken .zarray"),
    "text as shape": (set_array(shape="567"), "broken .zarray"),
    "other axes": (set_axes("z", "y"), "has the axes"),
    "unknown axes": (set_axes("q", "y", "x"), "has the axes"),
    "doubled axes": (set_axes("x", "y", "x"), "has the axes"),
    "several times": (set_axes("t", "y", "x"), "5 time points"),
    "scale of zero": (set_scale([1, 0, 1]), "not positive"),
    "infinite scale": (set_scale([1, float("inf"), 1]), "broken scale"),
    "short scale": (set_scale([1]), "broken scale"),
    "text as scale": (set_scale("abc"), "broken scale"),
    "truncated chunk": (write_chunk(b"\x02\x01\x21"), "not a complete volume"),
    "empty chunk": (write_chunk(b""), "not a complete volume"),
    "uncompressed chunk of another size": (write_chunk(bytes(7), compressor=None), "not a complete volume"),
    "blosc bomb": (write_chunk(b"\x02\x01\x21\x01" + b"\xff\xff\xff\x7f" * 3 + bytes(20)), "decompresses to more"),
    "lz4 bomb": (write_chunk(b"\xff\xff\xff\x7f" + bytes(20), compressor={"id": "lz4"}), "decompresses to more"),
    "zstd bomb": (write_chunk(ZSTD_TERABYTE, compressor={"id": "zstd", "level": 1}), "decompresses to more"),
    "zstd blocks": (write_chunk(ZSTD_BLOCKS, compressor={"id": "zstd", "level": 1}), "decompresses to more"),
    "broken zlib stream": (write_chunk(b"x\x9c\xff", compressor={"id": "zlib", "level": 1}), "not a complete volume"),
    "pipe": (make_pipe, "0.0.0, which is not a file"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_image_is_refused_with_the_reason(case: str, tmp_path: Path) -> None:
    change, reason = HOSTILE[case]
    values = create_values()
    # One chunk, because chunks are decoded in any order, and the intact ones do not have the compressor of some cases.
    path = write_ome_zarr(tmp_path / "scan.zarr", values, "0.4", chunks=values.shape)
    change(path)
    with pytest.raises(ImageError) as error:
        read_slices(path)
    assert reason in str(error.value)
    assert len(str(error.value)) < 400


def set_codecs(*names: str) -> Callable[[dict[str, Any]], object]:
    return lambda content: content.update(codecs=[{"name": name, "configuration": {}} for name in names])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (set_codecs("vlen-bytes"), "codec 'vlen-bytes'"),
        (set_codecs("bytes", "numcodecs.pickle"), "codec 'numcodecs.pickle'"),
        (lambda content: content.update(codecs=None), "broken zarr.json"),
        (lambda content: content.update(data_type="variable_length_bytes"), "values of type"),
        (lambda content: content.update(data_type={"name": "numpy.object"}), "values of type"),
        (lambda content: content["chunk_grid"].update(name="rectangular"), "broken zarr.json"),
        (lambda content: content.update(shape=[10**12, 6, 7]), "slices"),
        (lambda content: content.update(node_type="group"), "broken zarr.json"),
    ],
)
def test_hostile_array_of_zarr_3_is_refused(
    change: Callable[[dict[str, Any]], object], reason: str, tmp_path: Path
) -> None:
    path = write_ome_zarr(tmp_path / "scan.zarr", create_values(), "0.5")
    edit(path / "0/zarr.json", change)
    with pytest.raises(ImageError) as error:
        read_slices(path)
    assert reason in str(error.value)


def test_array_without_ome_metadata_is_refused(tmp_path: Path) -> None:
    for zarr_format in (2, 3):
        path = tmp_path / f"{zarr_format}.zarr"
        zarr.create_array(path, data=create_values(), zarr_format=zarr_format)
        (path / ".zattrs").unlink(missing_ok=True)
        with pytest.raises(ImageError, match="without OME metadata"):
            OmeZarr(path, "z")


def test_axis_of_the_patient_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="along z or t, not along x"):
        OmeZarr(write_ome_zarr(tmp_path / "scan.zarr", create_values()), "x")


def test_missing_package_is_reported_with_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_ome_zarr(tmp_path / "scan.zarr", create_values())
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(PipelineError, match=r"zarr.*unet-learning-report\[volumes\]"):
        OmeZarr(path, "z")
