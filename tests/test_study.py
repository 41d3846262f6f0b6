"""Studies: composing `params.yaml` and `dvc.yaml` from a preset, and errors in presets."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from pipeline.artifacts.project import Project
from pipeline.cli import main
from pipeline.errors import PipelineError
from pipeline.params.file import read_params
from pipeline.study.compose import check_data, compose, find_preset, list_presets
from pipeline.study.create import create_study
from tests.conftest import ROOT

SHIPPED = [preset.name for preset in list_presets(ROOT)]
GRID = "grid: {variant: [small], learning_rate: [1e-3], seed: [0]}\n"
SMALL = "variants:\n  small:\n    model: {depth: 2}\n" + GRID

Writer = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Writer:
    """Return a function that writes `params/mine.yaml` into a project with the shipped files, the current folder."""
    project = tmp_path / "project"
    for file in ("params.yaml", "dvc.yaml", "reports/notes.md", "reports/templates/page.html"):
        (project / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, project / file)
    (project / "data/sample").mkdir(parents=True)
    (project / "params").mkdir()
    monkeypatch.chdir(project)

    def write(text: str) -> Path:
        (project / "params/mine.yaml").write_text(text, encoding="utf-8")
        return project

    return write


def load_yaml(path: Path) -> dict:
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_preset_composes_a_valid_study(name: str) -> None:
    composed = compose(find_preset(name, ROOT), ROOT)
    params = composed.params
    assert 1 <= len(params.cells()) <= 42
    assert params.tracking.experiment == name
    assert params.report.title != read_params(ROOT / "params.yaml").report.title
    assert f"| `{name}`" in (ROOT / "docs/how-to/studies.md").read_text(encoding="utf-8")


def test_study_params_differ_only_in_keys_of_the_preset(write: Writer) -> None:
    project = write("train: {epochs: 3}\n" + SMALL)
    params = create_study("mine", project)
    base, study_params = load_yaml(project / "params.yaml"), load_yaml(project / "studies/mine/params.yaml")
    assert study_params.pop("variants") == {"small": {"model": {"depth": 2}}}
    base.pop("variants")
    assert study_params == {
        **base,
        "data": {**base["data"], "path": "../../data/sample"},
        "train": {**base["train"], "epochs": 3},
        "grid": {"variant": ["small"], "learning_rate": [0.001], "seed": [0]},
        "tracking": {**base["tracking"], "experiment": "mine"},
        "report": {**base["report"], "notes_file": "../../reports/notes.md"},
    }
    assert [cell.name for cell in params.cells()] == ["small-0.001-0"]


def test_study_params_keep_comments_of_both_files(write: Writer) -> None:
    project = write("train:\n  epochs: 3  # a first look\n" + SMALL)
    create_study("mine", project)
    text = (project / "studies/mine/params.yaml").read_text(encoding="utf-8")
    assert "# a first look" in text
    assert text.count("\n\n") == len(load_yaml(project / "params.yaml"))  # one blank line above each section
    shipped = (project / "params.yaml").read_text(encoding="utf-8").splitlines()
    changed = {line for line in shipped if "#" in line} - set(text.splitlines())
    assert {line.split(":")[0].strip() for line in changed if not line.startswith("#")} <= {
        "path", "epochs", "lite0", "lite0_20_images", "unet_no_skip", "train", "keras_pets", "seed", "grid",
        "notes_file", "model", "pretrained",
    }  # fmt: skip


def test_section_of_another_family_replaces_the_whole_section(write: Writer) -> None:
    project = write(f"model: {{family: keras_pets}}\nvariants: {{small: {{}}}}\n{GRID}")
    create_study("mine", project)
    assert load_yaml(project / "studies/mine/params.yaml")["model"] == {"family": "keras_pets"}


def test_study_shares_code_and_has_its_own_results(write: Writer) -> None:
    project = write(SMALL)
    dvc_file = project / "dvc.yaml"
    text = dvc_file.read_text(encoding="utf-8")
    dvc_file.write_text(text.replace("      - pipeline/train\n", "      - pipeline/train\n      - my_net.py\n"))
    create_study("mine", project)
    stages = load_yaml(project / "studies/mine/dvc.yaml")["stages"]
    assert stages["prepare"]["deps"][0] == "${data.path}"
    assert {"data/prepared", "../../pipeline/train", "../../my_net.py"} <= set(stages["train"]["deps"])
    assert {"runs", "evaluation", "comparison", "${report.notes_file}"} <= set(stages["report"]["deps"])
    assert "../../reports/templates" in stages["report"]["deps"]
    for name, stage in load_yaml(dvc_file)["stages"].items():
        assert [stages[name][key] for key in ("cmd", "outs")] == [stage[key] for key in ("cmd", "outs")]
        files = [file for item in stages[name]["params"] if isinstance(item, dict) for file in item]
        assert set(files) <= {"../../pipeline/artifacts/format.py"}


def test_unchanged_study_is_not_rewritten(write: Writer) -> None:
    project = write(SMALL)
    files = [project / "studies/mine" / name for name in ("params.yaml", "dvc.yaml")]
    create_study("mine", project)
    before = [file.stat().st_ino for file in files]
    create_study("mine", project)
    assert [file.stat().st_ino for file in files] == before
    write("train: {epochs: 3}\n" + SMALL)
    create_study("mine", project)
    assert [file.stat().st_ino == inode for file, inode in zip(files, before, strict=True)] == [False, True]


def test_notes_of_a_preset_become_the_notes_of_the_study(write: Writer) -> None:
    project = write(SMALL)
    (project / "params/mine.md").write_text("Why I ask.\n", encoding="utf-8")
    assert create_study("mine", project).report.notes_file == "../../params/mine.md"


def test_data_path_is_relative_inside_the_project_and_absolute_outside(write: Writer, tmp_path: Path) -> None:
    project = write(SMALL)
    assert create_study("mine", project, Path("data/sample")).data.path == "../../data/sample"
    (tmp_path / "photos").mkdir()
    assert create_study("mine", project, Path("../photos")).data.path == str(tmp_path / "photos")


def test_data_option_sets_external_test_of_a_preset_with_bundled_data(write: Writer, tmp_path: Path) -> None:
    project = write(f"""
data:
  external_test:
    path: photos
    resize: letterbox
    classes: [{{name: animal, mask_value: 1}}, {{name: background, mask_value: 2}}, {{name: border, mask_value: 3}}]
    ignore_value: null
    splits: {{validation: 0.0, test: 1.0}}
{SMALL}""")
    with pytest.raises(
        PipelineError, match=r"data\.external_test\.path of the preset 'mine': .*/project/photos does not exist"
    ):
        create_study("mine", project)
    (tmp_path / "photos").mkdir()
    create_study("mine", project, Path("../photos"))
    data = load_yaml(project / "studies/mine/params.yaml")["data"]
    assert [data["path"], data["external_test"]["path"]] == ["../../data/sample", str(tmp_path / "photos")]
    deps = load_yaml(project / "studies/mine/dvc.yaml")["stages"]["prepare"]["deps"]
    assert deps[:2] == ["${data.path}", "${data.external_test.path}"]


def test_missing_data_is_reported_with_the_expected_content(write: Writer) -> None:
    project = write(f"data:\n  path: data/cells # stained cells,\n        # and their masks\n{SMALL}")
    with pytest.raises(PipelineError, match=r"project/data/cells does not exist; expected: stained cells, and t"):
        create_study("mine", project)
    with pytest.raises(PipelineError, match=r"/project/nowhere does not exist; .*make report SET=mine DATA=folder"):
        create_study("mine", project, Path("nowhere"))
    assert not (project / "studies").exists()
    check_data(
        compose(find_preset("mine", project), project, Path("data/sample")), find_preset("mine", project), project
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "train: {epoch: 3}\n" + SMALL,
            "params.yaml with params/mine.yaml: train.epoch: unknown key;",
        ),
        ("report: 3\n" + SMALL, "report: must be a section of keys"),
        ("tracking: null\n" + SMALL, "tracking: must be a section of keys"),
        ("variants: {other: {}}\n" + GRID, "grid.variant: 'small' is not among variants: other"),
        ("train: [\n", "params/mine.yaml is not valid YAML"),
        ("", "mine.yaml is empty; it must be a mapping with sections"),
    ],
)
def test_invalid_preset_is_reported_and_nothing_is_written(text: str, message: str, write: Writer) -> None:
    project = write(text)
    with pytest.raises(PipelineError, match=r"mine\.yaml") as error:
        create_study("mine", project)
    assert message in str(error.value)
    assert not (project / "studies").exists()


def test_unknown_preset_is_reported_with_the_closest_match(write: Writer) -> None:
    project = write(SMALL)
    with pytest.raises(PipelineError, match=r"no preset 'mien': params/mien\.yaml does not exist; did you mean mine\?"):
        find_preset("mien", project)
    with pytest.raises(PipelineError, match="presets: mine"):
        find_preset("xyz", project)
    (project / "params/My Set.yaml").touch()
    with pytest.raises(PipelineError, match="a preset's name may contain only a-z"):
        find_preset("My Set", project)
    shutil.rmtree(project / "params")
    with pytest.raises(PipelineError, match=r"has no preset"):
        find_preset("mine", project)


def test_study_command_works_in_any_folder_of_the_project(write: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    project = write("report: {title: Why?}\n" + SMALL)
    assert CliRunner().invoke(main, ["study"]).output == "mine  Why?\n"
    monkeypatch.chdir(project / "data")
    result = CliRunner().invoke(main, ["study", "mine", "--data", "sample"])
    assert result.output == "studies/mine: 1 run. Why?\n"
    assert read_params(project / "studies/mine/params.yaml").data.path == "../../data/sample"


def test_study_command_lists_invalid_presets_and_creates_others(write: Writer) -> None:
    project = write("report: {title: Why?}\n" + SMALL)
    (project / "params/Large.yaml").write_text(SMALL, encoding="utf-8")
    (project / "params/broken.yaml").write_text("train: [\n", encoding="utf-8")
    lines = CliRunner().invoke(main, ["study"]).output.splitlines()
    assert lines[0].startswith("Large   params/Large.yaml: a preset's name may contain only a-z")
    assert lines[1].startswith(f"broken  {project}/params/broken.yaml is not valid YAML")
    assert lines[-1] == "mine    Why?"
    listed = json.loads(CliRunner().invoke(main, ["study", "--json"]).output)
    assert [(entry["name"], entry["title"], entry["problem"] is None) for entry in listed] == [
        ("Large", None, False),
        ("broken", None, False),
        ("mine", "Why?", True),
    ]
    assert CliRunner().invoke(main, ["study", "mine", "--data", "data/sample"]).output == "studies/mine: 1 run. Why?\n"


def test_project_of_a_study_has_home_and_commands(write: Writer, tmp_path: Path) -> None:
    project = write(SMALL)
    create_study("mine", project)
    folder = project / "studies/mine"
    assert Project(folder).home == Project(project).home == project
    assert Project(tmp_path).home == tmp_path
    assert [Project(place).study for place in (folder, project, tmp_path)] == ["mine", None, None]
    assert [Project(place).make_command("report") for place in (folder, project)] == [
        "make report SET=mine",
        "make report",
    ]
    assert [Project(place).shell_command("dvc repro") for place in (folder, project)] == [
        "cd studies/mine && dvc repro",
        "dvc repro",
    ]
