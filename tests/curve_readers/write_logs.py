"""Write the same loss curves as the tools do, for tests of their readers."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from tests.analysis.test_verdict import KERAS

TRAIN, VAL = ([float(loss) for loss in losses] for losses in KERAS)
STEPS = 4  # training steps per epoch, of tools that log steps
NOISE = (-0.03, 0.01, 0.03, -0.01)  # of the steps of an epoch; their sum is 0


def write_text(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def write_plain(folder: Path) -> Path:
    lines = (f"{epoch},{train},{val}" for epoch, (train, val) in enumerate(zip(TRAIN, VAL, strict=True), start=1))
    return write_text(folder / "plain.csv", "epoch,train_loss,val_loss", *lines)


def list_epochs(first: int = 0) -> Iterable[tuple[int, float, float]]:
    return zip(range(first, first + len(TRAIN)), TRAIN, VAL, strict=True)


def write_keras(folder: Path) -> Path:
    lines = (f"{epoch},0.9,{train},0.001,0.8,{val}" for epoch, train, val in list_epochs())
    return write_text(folder / "log.csv", "epoch,accuracy,loss,learning_rate,val_accuracy,val_loss", *lines)


def write_keras_history(folder: Path) -> Path:
    history = {"accuracy": [0.9] * len(TRAIN), "loss": TRAIN, "val_accuracy": [0.8] * len(TRAIN), "val_loss": VAL}
    return write_text(folder / "history.json", json.dumps(history))


def write_keras_dataframe(folder: Path) -> Path:
    lines = (f"{epoch},{train},{val}" for epoch, train, val in list_epochs())
    return write_text(folder / "history.csv", ",loss,val_loss", *lines)


def write_lightning(folder: Path) -> Path:
    lines = []
    for epoch, train, val in list_epochs():
        lines += [f"{epoch},{7 * epoch + 3},,{train * 1.1},", f"{epoch},{7 * epoch + 6},,,{val}"]
        lines += [f"{epoch},{7 * epoch + 6},{train},,"]
    return write_text(folder / "metrics.csv", "epoch,step,train_loss_epoch,train_loss_step,val_loss", *lines)


def write_mlflow(folder: Path) -> Path:
    rows = [("train_loss", train, epoch) for epoch, train, _ in list_epochs(1)]
    rows += [("val_loss", val, epoch) for epoch, _, val in list_epochs(1)]
    rows += [("val_iou", 0.5, epoch) for epoch, _, _ in list_epochs(1)]
    lines = (f"5f2c,{key},{value},{epoch},1700000000000" for key, value, epoch in rows)
    return write_text(folder / "history.csv", "run_id,key,value,step,timestamp", *lines)


def write_dvclive(folder: Path) -> Path:
    for side, losses in (("train", TRAIN), ("val", VAL)):
        lines = (f"{step}\t{loss}" for step, loss in enumerate(losses))
        write_text(folder / "metrics" / side / "loss.tsv", "step\tloss", *lines)
    return folder / "metrics"


def write_fastai(folder: Path) -> Path:
    lines = (f"{epoch},{train},{val},0.81,00:{epoch:02}" for epoch, train, val in list_epochs())
    return write_text(folder / "history.csv", "epoch,train_loss,valid_loss,dice,time", *lines)


def write_skorch(folder: Path) -> Path:
    history = [
        {
            "batches": [{"train_loss": train, "train_batch_size": 8}, {"valid_loss": val, "valid_batch_size": 8}],
            "epoch": epoch,
            "train_batch_count": 1,
            "valid_batch_count": 1,
            "train_loss": train,
            "dur": 1.5,
            "train_loss_best": True,
            "valid_loss": val,
            "valid_loss_best": False,
        }
        for epoch, train, val in list_epochs(1)
    ]
    return write_text(folder / "history.json", json.dumps(history))


def write_json_lines(folder: Path) -> Path:
    lines = [json.dumps({"epoch": epoch, "train_loss": train, "val_loss": val}) for epoch, train, val in list_epochs()]
    return write_text(folder / "log.jsonl", *lines)


def write_json_list(folder: Path) -> Path:
    records = [{"epoch": epoch, "Loss/train": train, "Loss/val": val} for epoch, train, val in list_epochs()]
    return write_text(folder / "log.json", json.dumps(records, indent=2))


def write_excel(folder: Path) -> Path:
    import openpyxl

    workbook = openpyxl.Workbook()
    sheet = workbook.active
    for row in [("epoch", "train_loss", "val_loss"), *list_epochs()]:
        sheet.append(row)
    folder.mkdir(parents=True, exist_ok=True)
    workbook.save(folder / "log.xlsx")
    return folder / "log.xlsx"


def write_hugging_face(folder: Path) -> Path:
    history: list[dict[str, object]] = []
    for epoch, train, val in list_epochs():
        for step, noise in enumerate(NOISE, start=1):
            count = STEPS * epoch + step
            record = {"epoch": round(count / STEPS, 2), "grad_norm": 1.0, "learning_rate": 1e-5, "step": count}
            history.append({**record, "loss": train + noise})
        evaluation = {"eval_loss": val, "eval_runtime": 3.2, "eval_samples_per_second": 9.0}
        history.append({"epoch": epoch + 1.0, **evaluation, "step": STEPS * (epoch + 1)})
    history.append({"epoch": 15.0, "step": 60, "total_flos": 1e9, "train_loss": 0.31, "train_runtime": 99.0})
    state = {"best_metric": None, "epoch": 15.0, "global_step": 60, "log_history": history, "trial_name": None}
    return write_text(folder / "trainer_state.json", json.dumps(state, indent=2, sort_keys=True))


def write_nnunet(folder: Path, train: Sequence[float] = TRAIN, val: Sequence[float] = VAL) -> Path:
    lines = [
        "",
        "#######################################################################",
        "Please cite the following paper when using nnU-Net:",
        "",
        "This is the configuration used by this training:",
        "Configuration name: 2d",
        " {'data_identifier': 'nnUNetPlans_2d', 'batch_size': 12, 'batch_dice': True} ",
        "2026-01-05 12:00:00.000001: unpacking done... ",
    ]
    for epoch, losses in enumerate(zip(train, val, strict=True)):
        time = f"2026-01-05 12:{epoch % 60:02}:11.123456:"
        lines += [f"{time}  ", f"{time} Epoch {epoch} ", f"{time} Current learning rate: 0.01 "]
        lines += [f"{time} train_loss {losses[0]:.4f} ", f"{time} val_loss {losses[1]:.4f} "]
        lines += [f"{time} Pseudo dice [0.8123, 0.7011] ", f"{time} Epoch time: 30.21 s "]
    return write_text(folder / "training_log_2026_1_5_12_00_00.txt", *lines)


def write_nnunet_1(folder: Path) -> Path:
    lines = ["Starting... "]
    for epoch, train, val in list_epochs():
        lines += ["2021-03-02 08:00:01.5:  ", f"epoch:  {epoch} "] if epoch == 0 else ["2021-03-02 08:00:01.5: ", ""]
        lines += [f"2021-03-02 08:00:02.5: epoch:  {epoch} "] if epoch else []
        lines += [
            f"2021-03-02 08:00:03.5: train loss : {train:.4f} ",
            f"2021-03-02 08:00:04.5: validation loss: {val:.4f} ",
        ]
        lines += ["2021-03-02 08:00:04.6: validation loss (train=True): 0.1000 "]
        lines += ["2021-03-02 08:00:05.5: Average global foreground Dice: [0.81, 0.77] "]
        lines += ["2021-03-02 08:00:06.5: This epoch took 130.125216 s", ""]
    return write_text(folder / "training_log_2021_3_2_08_00_00.txt", *lines)


def write_cellpose(folder: Path) -> Path:
    lines = ["2026-01-05 12:00:00,000 [INFO] WRITING LOG OUTPUT TO /home/ada/.cellpose/run.log"]
    lines += ["2026-01-05 12:00:00,100 [INFO] >>> n_epochs=150, n_train=20, n_test=5"]
    lines += [
        f"2026-01-05 12:00:01,000 [INFO] {10 * epoch}, train_loss={train:.4f}, test_loss={val:.4f}, LR=0.000010, "
        f"time {epoch + 1.5:.2f}s"
        for epoch, train, val in list_epochs()
    ]
    lines.insert(3, "2026-01-05 12:00:01,000 [INFO] 5, train_loss=9.0000, test_loss=9.0000, LR=0.000010, time 1.80s")
    return write_text(folder / "run.log", *lines)


def write_cellpose_2(folder: Path) -> Path:
    lines = [
        f"2023-01-05 12:00:01,000 [INFO] Epoch {10 * epoch}, Time {epoch + 1.5:4.1f}s, Loss {train:2.4f}, "
        f"Loss Test {val:2.4f}, LR 0.2000"
        for epoch, train, val in list_epochs()
    ]
    return write_text(folder / "run.log", *lines)


def write_cellpose_arrays(folder: Path) -> Path:
    train, val = np.full(10 * len(TRAIN), 0.5), np.zeros(10 * len(TRAIN))
    train[::10], val[::10] = TRAIN, VAL
    val[5] = 9.0
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "cells_train_losses.npy", train)
    np.save(folder / "cells_test_losses.npy", val)
    return folder / "cells_train_losses.npy"


def write_wandb_chart(folder: Path) -> Path:
    names = [
        f"brisk-sun-4 - {metric}{bound}" for metric in ("train_loss", "val_loss") for bound in ("", "__MIN", "__MAX")
    ]
    lines = [",".join(f'"{name}"' for name in ("Step", *names))]
    for epoch, train, val in list_epochs():
        for step, noise in enumerate(NOISE):
            lines.append(f'"{(STEPS + 1) * epoch + step}",' + f'"{train + noise}",' * 3 + '"","",""')
        lines.append(f'"{(STEPS + 1) * epoch + STEPS}","","","","{val}","{val}","{val}"')
    return write_text(folder / "wandb_export_2026-01-05T12_00_00.000+01_00.csv", *lines)


def write_wandb_history(folder: Path) -> Path:
    lines = [",train/loss,val/loss,epoch,_runtime,_timestamp,_step"]
    for epoch, train, val in list_epochs():
        lines += [f"{2 * epoch},{train},,{epoch},1.5,{1.7e9 + epoch},{2 * epoch}"]
        lines += [f"{2 * epoch + 1},,{val},{epoch},1.6,{1.7e9 + epoch},{2 * epoch + 1}"]
    return write_text(folder / "history.csv", *lines)


def write_tensorboard(folder: Path) -> Path:
    """Write the event file of a loop that logs the training loss of every step, as torch's `SummaryWriter` does."""
    events = [create_event(0, b"")]
    for epoch, train, val in list_epochs():
        for step, noise in enumerate(NOISE):
            events.append(create_scalar("Loss/train", train + noise, STEPS * epoch + step))
        events.append(create_scalar("Loss/val", val, STEPS * epoch + STEPS - 1))
        events.append(create_scalar("Accuracy/val", 0.5, STEPS * epoch + STEPS - 1))
    return write_events(folder / "run" / "events.out.tfevents.1700000000.host", events).parent


def write_keras_tensorboard(folder: Path) -> Path:
    """Write the two event files of Keras' callback, whose scalars are tensors."""
    for side, losses in (("train", TRAIN), ("validation", VAL)):
        events = [create_tensor("epoch_loss", loss, epoch) for epoch, loss in enumerate(losses)]
        write_events(folder / "logs" / side / "events.out.tfevents.1700000000.host.1.0.v2", events)
    return folder / "logs"


def encode_field(number: int, wire_type: int, value: bytes) -> bytes:
    length = encode_varint(len(value)) if wire_type == 2 else b""
    return encode_varint(number << 3 | wire_type) + length + value


def encode_varint(number: int) -> bytes:
    encoded = b""
    while number >= 0x80:
        encoded += bytes([number & 0x7F | 0x80])
        number >>= 7
    return encoded + bytes([number])


def create_event(step: int, summary: bytes, time: float = 1.7e9) -> bytes:
    header = encode_field(1, 1, struct.pack("<d", time)) + encode_field(2, 0, encode_varint(step))
    return header + (encode_field(5, 2, encode_field(1, 2, summary)) if summary else b"")


def create_scalar(tag: str, value: float, step: int, time: float = 1.7e9) -> bytes:
    summary = encode_field(1, 2, tag.encode()) + encode_field(2, 5, struct.pack("<f", value))
    return create_event(step, summary, time)


def create_tensor(tag: str, value: float, step: int, layout: str = "float_content") -> bytes:
    """Create an event with a tensor; `layout` is the type of its number and the field that has it."""
    dtype, number, code = {
        "float_content": (1, 4, "<f"),
        "double_content": (2, 4, "<d"),
        "float_val": (1, 5, "<f"),
        "double_val": (2, 6, "<d"),
    }[layout]
    tensor = encode_field(1, 0, encode_varint(dtype)) + encode_field(2, 2, b"")
    tensor += encode_field(number, 2, struct.pack(code, value))
    plugin = encode_field(1, 2, encode_field(1, 2, b"scalars"))
    return create_event(
        step, encode_field(1, 2, tag.encode()) + encode_field(9, 2, plugin) + encode_field(8, 2, tensor)
    )


def write_events(path: Path, events: Iterable[bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(map(create_record, events)))
    return path


def create_record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + compute_masked_crc(length) + data + compute_masked_crc(data)


def compute_masked_crc(data: bytes) -> bytes:
    """Compute a masked CRC-32C bit by bit, independently of the reader."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 * (crc & 1))
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


# Tools that log epochs, with the number of the first one; and tools that log steps, with the number of the best one.
WRITERS: dict[Callable[[Path], Path], tuple[str, int]] = {
    write_keras: ("epoch", 11),
    write_keras_history: ("epoch", 12),
    write_keras_dataframe: ("epoch", 12),
    write_lightning: ("epoch", 11),
    write_mlflow: ("epoch", 12),
    write_dvclive: ("epoch", 11),
    write_fastai: ("epoch", 11),
    write_skorch: ("epoch", 12),
    write_json_lines: ("epoch", 11),
    write_json_list: ("epoch", 11),
    write_excel: ("epoch", 11),
    write_hugging_face: ("epoch", 12),
    write_nnunet: ("epoch", 11),
    write_nnunet_1: ("epoch", 11),
    write_cellpose: ("epoch", 110),
    write_cellpose_2: ("epoch", 110),
    write_cellpose_arrays: ("epoch", 110),
    write_wandb_chart: ("step", 59),
    write_wandb_history: ("epoch", 11),
    write_tensorboard: ("step", 47),
    write_keras_tensorboard: ("epoch", 11),
}
