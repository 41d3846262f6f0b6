"""TensorBoard's event files: encodings of scalars, restarted runs, truncated and damaged records."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.curve_readers.event_file import DamagedRecordError, _compute_crc, read_scalars
from pipeline.curve_readers.formats import read_curves
from tests.curve_readers.write_logs import (
    TRAIN,
    VAL,
    compute_masked_crc,
    create_event,
    create_record,
    create_scalar,
    create_tensor,
    encode_field,
    encode_varint,
    write_events,
    write_tensorboard,
)
from tests.judge.test_judge import get_error


def read_all(path: Path) -> list[tuple[str, float, int]]:
    return [(scalar.tag, scalar.value, scalar.step) for scalar in read_scalars(path, lambda _: True)]


def test_compute_crc_matches_the_published_check_value() -> None:
    assert _compute_crc(b"123456789") == 0xE3069283


@given(data=st.binary(max_size=40))
def test_compute_crc_matches_the_bitwise_definition(data: bytes) -> None:
    crc = _compute_crc(data)
    assert ((crc >> 15 | crc << 17) + 0xA282EAD8 & 0xFFFFFFFF).to_bytes(4, "little") == compute_masked_crc(data)


@pytest.mark.parametrize("layout", ["float_content", "double_content", "float_val", "double_val"])
def test_read_scalars_reads_all_encodings_of_a_tensor(layout: str, tmp_path: Path) -> None:
    path = write_events(tmp_path / "events", [create_tensor("loss", 0.5, 3, layout)])
    assert read_all(path) == [("loss", 0.5, 3)]


@given(step=st.integers(0, 2**63 - 1), value=st.floats(width=32, allow_nan=False))
def test_read_scalars_returns_what_was_written(
    step: int, value: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = write_events(tmp_path_factory.mktemp("events") / "events", [create_scalar("a/loss", value, step)])
    assert read_all(path) == [("a/loss", value, step)]


def test_read_scalars_ignores_images_and_histograms(tmp_path: Path) -> None:
    image = create_event(1, encode_field(1, 2, b"image") + encode_field(4, 2, b"\x08\x01"))
    dimension = encode_field(2, 2, encode_field(2, 2, encode_field(1, 0, encode_varint(1))))
    vector = encode_field(1, 0, encode_varint(1)) + dimension + encode_field(5, 2, b"\0\0\0\0")
    histogram = create_event(1, encode_field(1, 2, b"loss") + encode_field(8, 2, vector))
    path = write_events(tmp_path / "events", [image, histogram, create_event(1, b"\x0a\x01x" + bytes(2 << 20))])
    assert read_all(path) == []


@given(cut=st.integers(1, 60))
def test_read_scalars_ends_at_a_truncated_record(cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = write_events(
        tmp_path_factory.mktemp("events") / "e", [create_scalar("loss", 0.5, step) for step in (1, 2, 3)]
    )
    content = path.read_bytes()
    record = len(content) // 3
    path.write_bytes(content[:-cut])
    complete = (len(content) - cut) // record
    assert [step for _, _, step in read_all(path)] == [1, 2, 3][:complete]


@pytest.mark.parametrize("position", [0, 9, 14, 30, 45])
def test_read_scalars_detects_a_changed_byte(position: int, tmp_path: Path) -> None:
    records = [create_record(create_scalar("loss", 0.5, step)) for step in (1, 2)]
    damaged = bytearray(records[1])
    damaged[position % len(damaged)] ^= 0x40
    path = tmp_path / "events"
    path.write_bytes(records[0] + damaged)
    with pytest.raises(DamagedRecordError, match=rf"byte {len(records[0])}"):
        read_all(path)


def test_judge_of_a_damaged_event_file_uses_the_records_before(tmp_path: Path) -> None:
    folder = write_tensorboard(tmp_path)
    (path,) = folder.iterdir()
    content = bytearray(path.read_bytes())
    content[len(content) * 2 // 3] ^= 1
    path.write_bytes(content)
    (run,) = read_curves(folder)
    assert len(run.curves.epochs) < len(TRAIN)
    assert "is damaged and was read only up to byte" in run.notes[0]


def test_judge_of_a_restarted_run_uses_the_later_event_file(tmp_path: Path) -> None:
    for start, noise, end in ((0, 1.0, 10), (6, 0.0, len(TRAIN))):
        events = [create_scalar("loss/train", TRAIN[step] + noise * (step >= 6), step) for step in range(start, end)]
        events += [create_scalar("loss/val", VAL[step] + noise * (step >= 6), step) for step in range(start, end)]
        write_events(tmp_path / f"events.out.tfevents.17000000{start:02}.host", events)
    (run,) = read_curves(tmp_path)
    assert run.curves.train == pytest.approx(TRAIN)
    assert "Values of earlier event files that a restarted run logged again were replaced: 8." in run.notes


def test_judge_pairs_different_counters_by_time(tmp_path: Path) -> None:
    events = []
    for epoch, (train, val) in enumerate(zip(TRAIN, VAL, strict=True)):
        events += [create_scalar("train/loss", train, 10 * epoch + step, 100.0 * epoch + step) for step in range(10)]
        events += [create_scalar("val/loss", val, epoch, 100.0 * epoch + 50)]
    (run,) = read_curves(write_events(tmp_path / "events.out.tfevents.1.host", events))
    assert run.curves.train == pytest.approx(TRAIN)
    assert (run.curves.unit, run.curves.epochs) == ("epoch", tuple(range(len(TRAIN))))
    assert "which are different counters, so the losses were paired by the time" in run.notes[0]


def test_judge_uses_the_epochs_that_lightning_logs(tmp_path: Path) -> None:
    events = []
    for epoch, (train, val) in enumerate(zip(TRAIN, VAL, strict=True)):
        step = 25 * epoch + 24
        events += [create_scalar("epoch", epoch, step), create_scalar("val_loss", val, step)]
        events += [create_scalar("train_loss_step", 9.0, step), create_scalar("train_loss_epoch", train, step)]
    (run,) = read_curves(write_events(tmp_path / "version_0" / "events.out.tfevents.1.host", events).parent)
    assert (run.name, run.curves.unit, run.curves.epochs[-1]) == ("version_0", "epoch", len(TRAIN) - 1)
    assert run.curves.train == pytest.approx(TRAIN)


def test_judge_of_several_runs_names_them_by_folder(tmp_path: Path) -> None:
    for name in ("a", "b/c"):
        write_tensorboard(tmp_path / name)
    assert [run.name for run in read_curves(tmp_path)] == ["a/run", "b/c/run"]


def test_judge_of_one_side_asks_for_the_folder(tmp_path: Path) -> None:
    path = write_events(tmp_path / "train" / "events.out.tfevents.1.host", [create_tensor("epoch_loss", 0.5, 1)])
    assert "pass the folder with both event files" in get_error(path)
