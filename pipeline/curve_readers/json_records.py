"""Read JSON: lists of records, one record per line, and the histories of skorch, Keras and Hugging Face's trainer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from pipeline.curve_readers.log_file import LogFile
from pipeline.curve_readers.logged_run import LoggedRun
from pipeline.curve_readers.records import EXPECTED, Record, read_records
from pipeline.errors import PipelineError
from pipeline.wording import escape_unprintable, join_names

EXPECTED_JSON = (
    'expected a list of records such as {"epoch": 1, "train_loss": 0.5, "val_loss": 0.6}, one such record per '
    "line, or Hugging Face's trainer_state.json"
)


def recognizes_json(file: LogFile) -> bool:
    """Return whether a file begins like a JSON object or list."""
    return file.text_head.lstrip()[:1] in ("{", "[")


def read_json(file: LogFile) -> list[LoggedRun]:
    """Read the runs of a JSON file, or of a file with one JSON object per line.

    Raises:
        PipelineError: The file is not valid JSON, or has an unknown format.
    """
    text = file.read_text(EXPECTED_JSON, keep_last_line=True)
    name, source = file.path.stem, str(file.path)
    notes: list[str] = []
    try:
        content = _parse(text)
    except ValueError as error:
        if _is_object(text.partition("\n")[0]):
            records, notes = _read_lines(text, source)
        else:
            raise PipelineError(f"{source} is not valid JSON ({_describe(error)}); {EXPECTED_JSON}.") from None
    else:
        records = list(_list_records(content, source))
    return read_records(_drop_summaries(records), source, name, notes)


def _parse(text: str) -> Any:
    """Parse JSON.

    Raises:
        ValueError: The text is not valid JSON, or is nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _describe(error: ValueError) -> str:
    return escape_unprintable(str(error).splitlines()[0][:120])


def _is_object(text: str) -> bool:
    try:
        return isinstance(_parse(text), dict)
    except ValueError:
        return False


def _read_lines(text: str, source: str) -> tuple[list[Record], list[str]]:
    """Read one JSON object per line; the last line may be incomplete."""
    records, notes = [], []
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    for number, line in lines:
        try:
            content = _parse(line)
        except ValueError as error:
            if number == lines[-1][0] and not text.endswith("\n"):
                notes.append("The last line is incomplete and was left out.")
                continue
            raise PipelineError(
                f"{source}, line {number} is not valid JSON ({_describe(error)}); {EXPECTED_JSON}."
            ) from None
        if not isinstance(content, dict):
            raise PipelineError(f"{source}, line {number} is not a JSON object; {EXPECTED_JSON}.")
        records.append(Record(content, f"{source}, line {number}"))
    return records, notes


def _list_records(content: Any, source: str) -> Iterator[Record]:
    """Yield the records of a JSON document."""
    if isinstance(content, dict):
        if isinstance(content.get("log_history"), list):  # Hugging Face's trainer_state.json
            content = content["log_history"]
        elif columns := {name: values for name, values in content.items() if isinstance(values, (list, dict))}:
            yield from _list_rows(columns, source)
            return
        else:
            content = [content]
    if not isinstance(content, list):
        raise PipelineError(f"{source} has the content of type {type(content).__name__}; {EXPECTED_JSON}.")
    if not content:
        raise PipelineError(f"{source} is empty; {EXPECTED_JSON}.")
    for number, record in enumerate(content, start=1):
        if not isinstance(record, dict):
            raise PipelineError(f"{source}, record {number} is not a JSON object; {EXPECTED_JSON}.")
        yield Record(record, f"{source}, record {number}")


def _list_rows(columns: dict[str, Any], source: str) -> Iterator[Record]:
    """Yield the rows of a JSON object with one list per column, such as the history of Keras' `fit`."""
    lists = {name: list(values.values()) if isinstance(values, dict) else values for name, values in columns.items()}
    lengths = {name: len(values) for name, values in lists.items()}
    if len(set(lengths.values())) > 1:
        shown = join_names([f"{name} has {length}" for name, length in lengths.items()], 5)
        raise PipelineError(f"{source} has columns of different lengths ({shown}); {EXPECTED}.")
    for number in range(next(iter(lengths.values()))):
        yield Record({name: values[number] for name, values in lists.items()}, f"{source}, row {number + 1}")


def _drop_summaries(records: Sequence[Record]) -> list[Record]:
    """Drop the last record of Hugging Face's trainer, whose `train_loss` is the mean over the whole training."""
    return [record for record in records if "train_runtime" not in record.values]
