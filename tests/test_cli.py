"""The command line: fast help, exit codes and error messages without tracebacks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import main

HEAVY = {"torch", "mlflow", "pandas", "matplotlib", "numpy", "dvc", "rich", "pydantic"}
COMMANDS = [
    [],
    *([name] for name in sorted(main.commands)),
    ["data", "check"],
    ["data", "download"],
    ["weights", "fetch"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command) or "pipeline")
def test_help_imports_no_heavy_library(command: list[str]) -> None:
    code = (
        "import sys; from pipeline.cli import main\n"
        f"try: main({[*command, '--help']!r})\n"
        f"finally: print(sorted(sys.modules.keys() & {HEAVY!r}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage:")
    assert done.stderr.strip() == "[]"


def test_every_command_has_a_help_sentence() -> None:
    for command in main.commands.values():
        assert command.help
        assert command.get_short_help_str(limit=200).endswith((".", ":")) or command.help.splitlines()[0].endswith(".")


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def test_wrong_usage_exits_with_2() -> None:
    assert run("train", "--variant", "unet", "--learning-rate", "fast", "--seed", "0")[0] == 2
    assert run("trian")[0] == 2
    assert run("sweep", "--workers", "0")[0] == 2


def test_missing_params_exits_with_1_and_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, output = run("params")
    assert code == 1
    assert "params.yaml is missing" in output


def test_train_without_prepared_data_names_the_command_to_run(project: Path) -> None:
    (project / "data/prepared/classes.json").unlink()
    code, output = run("train", "--variant", "unet", "--learning-rate", "1e-3", "--seed", "0")
    assert code == 1
    assert "classes.json is missing" in output
    assert "`dvc repro prepare`" in output


def test_evaluate_without_run_names_the_command_to_run(project: Path) -> None:
    code, output = run("evaluate", "unet-0.001-0")
    assert code == 1
    assert "run.json is missing" in output
    assert "`dvc repro train@unet-0.001-0`" in output


def test_params_lists_the_grid_and_prints_a_schema(project: Path) -> None:
    code, output = run("params")
    assert (code, output.split()[0]) == (0, "unet-0.01-0")
    assert '"$defs"' in run("params", "--schema")[1]
