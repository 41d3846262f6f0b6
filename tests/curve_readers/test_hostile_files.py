"""Files that are damaged, huge or malicious get a message instead of a traceback or an endless computation."""

from __future__ import annotations

import io
import json
import math
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.curve_readers import log_file
from pipeline.curve_readers.formats import read_curves
from pipeline.errors import PipelineError
from pipeline.judge.verdicts import VERDICTS, format_json, judge_file
from tests.curve_readers.write_logs import WRITERS
from tests.judge.test_judge import get_error


def write_bytes(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("x.json", "[" * 100_000, "nested too deeply"),
        ("x.json", '{"a": ' * 100_000, "nested too deeply"),
        ("x.json", "[1, 2]", "record 1 is not a JSON object"),
        ("x.json", "[]", "is empty"),
        ("x.json", "{}", "has the columns"),
        ("x.json", '{"loss": [1, 2], "val_loss": [1]}', "columns of different lengths (loss has 2, val_loss has 1)"),
        ("x.json", '[{"epoch": 1, "loss": true, "val_loss": 1}]', "loss must be a number such as 0.25, but is 'True'"),
        ("x.json", '[{"epoch": 1, "loss": [1], "val_loss": 1}]', "loss must be a number such as 0.25, but is '[1]'"),
        ("x.json", '[{"epoch": 1e999, "loss": 1, "val_loss": 1}]', "the epoch must be a whole number, but is 'inf'"),
        ("x.json", f'[{{"epoch": 1, "loss": 1{"0" * 400}, "val_loss": 1}}]', "loss must be a number"),
        ("x.json", f'[{{"epoch": 1, "loss": 1{"0" * 5000}, "val_loss": 1}}]', "is not valid JSON"),
        ("x.json", '{"epoch": 1}\n7\n', "line 2 is not a JSON object"),
        ("x.json", '{"epoch": 1}\n{"epoch\n', "line 2 is not valid JSON"),
        ("x.csv", "epoch,loss,val_loss\n1,0.1," + "9" * 200_000 + "\n", "is not a UTF-8 table"),
        ("x.csv", ",".join(map(str, range(20_000))), "has 20,000 columns; expected at most 10,000"),
        ("x.csv", 'epoch,loss,val_loss\n1,"0.1,2\n', "number of values differs"),
        ("x.csv", "epoch,loss,val_loss\n1,a\x1b[2Jb,2\n", r"but is 'a\x1b[2Jb'"),
        ("x.txt", "Epoch 1\ntrain_loss 0.5 \n", "no validation loss"),
        ("x.txt", "Epoch 1\ntrain_loss x \nval_loss 0.5\n", "train_loss must be a number such as 0.25, but is 'x'"),
    ],
)
def test_judge_of_an_invalid_text_reports_the_problem(name: str, content: str, expected: str, tmp_path: Path) -> None:
    error = get_error(write_bytes(tmp_path / name, content.encode()))
    assert expected in error
    assert len(error) < 1000


def test_judge_of_binary_garbage_is_refused(tmp_path: Path) -> None:
    for number, start in enumerate([b"", b"\x93NUMPY\x01\x00", b"PK\x03\x04", b"\x1f\x8b", b"\x89HDF\r\n"]):
        path = write_bytes(tmp_path / f"{number}_train_losses.npy", start + bytes(range(256)) * 4)
        assert path.name in get_error(path)


def test_judge_of_huge_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.write(b"[")
        file.truncate(log_file.MAX_BYTES + 1)
    assert "has 100.0 MB; expected at most 100.0 MB" in get_error(path)
    monkeypatch.setattr(log_file, "MAX_FILES", 2)
    for number in range(3):
        (tmp_path / f"{number}.txt").touch()
    assert "has more than 2 files" in get_error(tmp_path)


def test_judge_of_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log.csv")
    assert "is not a regular file" in get_error(tmp_path / "log.csv")


def test_judge_never_unpickles(tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "attacked"),)

    np.save(tmp_path / "x_train_losses.npy", np.array([Attack()], dtype=object), allow_pickle=True)
    np.save(tmp_path / "x_test_losses.npy", np.array([0.5]))
    assert "it has Python objects" in get_error(tmp_path / "x_train_losses.npy")
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(Attack()))
    get_error(tmp_path / "x.pkl")
    assert not (tmp_path / "attacked").exists()


def test_judge_of_an_array_with_a_false_shape_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
    for side in ("train", "test"):
        write_bytes(tmp_path / f"x_{side}_losses.npy", buffer.getvalue() + bytes(80))
    assert "is not a readable NumPy array" in get_error(tmp_path / "x_train_losses.npy")
    for side in ("train", "test"):
        np.save(tmp_path / f"x_{side}_losses.npy", np.zeros((3, 2)))
    assert "expected one number per epoch" in get_error(tmp_path / "x_train_losses.npy")


def test_judge_of_a_zip_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.xlsx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
        archive.writestr("xl/worksheets/sheet1.xml", bytes(200_000_000))
    assert "has 200.0 MB when unpacked; expected at most 100.0 MB" in get_error(path)


def test_judge_of_other_archives_and_damaged_workbooks_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.xlsx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("word/document.xml", "<document/>")
    assert "without an Excel workbook" in get_error(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook")
    assert "is not a readable Excel workbook" in get_error(path)


def test_judge_without_openpyxl_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)
    path = write_bytes(tmp_path / "log.xlsx", b"PK\x03\x04")
    assert "requires the package openpyxl. Install it" in get_error(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(content=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_read_curves_of_any_content_returns_curves_or_raises_a_message(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="log"):
        read_curves(write_bytes(tmp_path / "log", content))


EXTREME = st.floats() | st.sampled_from([5e-324, 1e-200, 1e99, -1e99, 1e300, 0.0, -0.0])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(losses=st.lists(st.tuples(EXTREME, EXTREME), min_size=1, max_size=14))
def test_judge_of_any_numbers_gives_a_verdict_in_valid_json(losses: list[tuple[float, float]], tmp_path: Path) -> None:
    lines = (f"{epoch},{train},{val}\n" for epoch, (train, val) in enumerate(losses))
    path = write_bytes(tmp_path / "log.csv", ("epoch,loss,val_loss\n" + "".join(lines)).encode())

    def refuse(text: str) -> None:
        raise AssertionError(text)

    try:
        (judgment,) = json.loads(format_json(judge_file(path, None)), parse_constant=refuse)
    except PipelineError as error:
        # NaN in one loss of every row marks losses that were not logged, and then no epoch has both.
        assert all(math.isnan(train) or math.isnan(val) for train, val in losses)
        assert (
            "no epoch has both" in str(error) or "no validation loss" in str(error) or "no training loss" in str(error)
        )
        return
    assert judgment["verdict"] in VERDICTS


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["epoch", "step", "loss", "val_loss", "key", "value", "run"]), inner, max_size=5
        )
    ),
    max_leaves=20,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(content=JSON)
def test_read_curves_of_any_json_returns_curves_or_raises_a_message(content: object, tmp_path: Path) -> None:
    path = write_bytes(tmp_path / "log.json", json.dumps(content).encode())
    try:
        assert all(len(run.curves.epochs) for run in read_curves(path))
    except PipelineError as error:
        assert "log.json" in str(error)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(data=st.data())
def test_read_curves_of_a_changed_log_returns_curves_or_raises_a_message(data: st.DataObject, tmp_path: Path) -> None:
    write_log = data.draw(st.sampled_from(list(WRITERS)))
    path = write_log(tmp_path / write_log.__name__)
    file = path if path.is_file() else next(file for file in sorted(path.rglob("*")) if file.is_file())
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, 2**20)) % (len(content) + 1)  # the size of an Excel file varies with the time
        content[start : start + data.draw(st.integers(0, 30))] = data.draw(st.binary(max_size=5))
    file.write_bytes(content)
    try:
        assert all(len(run.curves.epochs) for run in read_curves(path))
    except PipelineError as error:
        assert str(tmp_path) in str(error)
