"""What a parameter set makes of `params.yaml` and `dvc.yaml`, and what each mistake is answered."""

from __future__ import annotations

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

SHIPPED = [one.name for one in list_presets(ROOT)]
GRID = "grid: {variant: [small], learning_rate: [1e-3], seed: [0]}\n"
SMALL = "variants:\n  small:\n    model: {depth: 2}\n" + GRID

Writer = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Writer:
    """Writes `params/mine.yaml` into a project of the shipped parameters and stages, which is the current folder."""
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


def loaded(path: Path) -> dict:
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", SHIPPED)
def test_each_shipped_set_composes_and_says_what_it_asks(name: str) -> None:
    composed = compose(find_preset(name, ROOT), ROOT)
    params = composed.params
    assert 1 <= len(params.cells()) <= 36
    assert params.tracking.experiment == name
    assert params.report.title != read_params(ROOT / "params.yaml").report.title
    assert f"| `{name}`" in (ROOT / "docs/how-to/studies.md").read_text(encoding="utf-8")


def test_only_what_the_set_names_differs(write: Writer) -> None:
    project = write("train: {epochs: 3}\n" + SMALL)
    params = create_study("mine", project)
    base, made = loaded(project / "params.yaml"), loaded(project / "studies/mine/params.yaml")
    assert made.pop("variants") == {"small": {"model": {"depth": 2}}}
    base.pop("variants")
    assert made == {
        **base,
        "data": {**base["data"], "path": "../../data/sample"},
        "train": {**base["train"], "epochs": 3},
        "grid": {"variant": ["small"], "learning_rate": [0.001], "seed": [0]},
        "tracking": {**base["tracking"], "experiment": "mine"},
        "report": {**base["report"], "notes_file": "../../reports/notes.md"},
    }
    assert [cell.name for cell in params.cells()] == ["small-0.001-0"]


def test_comments_of_both_files_are_kept(write: Writer) -> None:
    project = write("train:\n  epochs: 3  # a first look\n" + SMALL)
    create_study("mine", project)
    text = (project / "studies/mine/params.yaml").read_text(encoding="utf-8")
    assert "# a first look" in text
    assert text.count("\n\n") == len(loaded(project / "params.yaml"))  # one blank line above each section
    shipped = (project / "params.yaml").read_text(encoding="utf-8").splitlines()
    changed = {line for line in shipped if "#" in line} - set(text.splitlines())
    assert {line.split(":")[0].strip() for line in changed if not line.startswith("#")} <= {
        "path", "epochs", "lite0", "keras_pets", "seed", "grid", "notes_file", "model",
    }  # fmt: skip


def test_a_section_of_another_kind_replaces_the_whole(write: Writer) -> None:
    project = write(f"model: {{family: keras_pets}}\nvariants: {{small: {{}}}}\n{GRID}")
    create_study("mine", project)
    assert loaded(project / "studies/mine/params.yaml")["model"] == {"family": "keras_pets"}


def test_code_is_two_folders_up_and_results_are_the_studys_own(write: Writer) -> None:
    project = write(SMALL)
    stages = project / "dvc.yaml"
    text = stages.read_text(encoding="utf-8")
    stages.write_text(text.replace("      - pipeline/train\n", "      - pipeline/train\n      - my_net.py\n"))
    create_study("mine", project)
    made = loaded(project / "studies/mine/dvc.yaml")["stages"]
    assert made["prepare"]["deps"][0] == "${data.path}"
    assert {"data/prepared", "../../pipeline/train", "../../my_net.py"} <= set(made["train"]["deps"])
    assert {"runs", "evaluation", "comparison", "${report.notes_file}"} <= set(made["report"]["deps"])
    assert "../../reports/templates" in made["report"]["deps"]
    for name, stage in loaded(stages)["stages"].items():
        assert [made[name][key] for key in ("cmd", "outs")] == [stage[key] for key in ("cmd", "outs")]
        files = [file for item in made[name]["params"] if isinstance(item, dict) for file in item]
        assert set(files) <= {"../../pipeline/artifacts/format.py"}


def test_a_second_time_nothing_is_written(write: Writer) -> None:
    project = write(SMALL)
    files = [project / "studies/mine" / name for name in ("params.yaml", "dvc.yaml")]
    create_study("mine", project)
    before = [file.stat().st_ino for file in files]
    create_study("mine", project)
    assert [file.stat().st_ino for file in files] == before
    write("train: {epochs: 3}\n" + SMALL)
    create_study("mine", project)
    assert [file.stat().st_ino == inode for file, inode in zip(files, before, strict=True)] == [False, True]


def test_the_sets_own_words_become_the_notes(write: Writer) -> None:
    project = write(SMALL)
    (project / "params/mine.md").write_text("Why I ask.\n", encoding="utf-8")
    assert create_study("mine", project).report.notes_file == "../../params/mine.md"


def test_data_is_relative_in_the_project_and_absolute_elsewhere(write: Writer, tmp_path: Path) -> None:
    project = write(SMALL)
    assert create_study("mine", project, Path("data/sample")).data.path == "../../data/sample"
    (tmp_path / "photos").mkdir()
    assert create_study("mine", project, Path("../photos")).data.path == str(tmp_path / "photos")


def test_the_users_folder_is_the_test_of_a_set_that_trains_on_the_bundled_pictures(
    write: Writer, tmp_path: Path
) -> None:
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
    data = loaded(project / "studies/mine/params.yaml")["data"]
    assert [data["path"], data["external_test"]["path"]] == ["../../data/sample", str(tmp_path / "photos")]
    deps = loaded(project / "studies/mine/dvc.yaml")["stages"]["prepare"]["deps"]
    assert deps[:2] == ["${data.path}", "${data.external_test.path}"]


def test_data_that_is_not_there_is_told_with_what_belongs_there(write: Writer) -> None:
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
    ("text", "said"),
    [
        (
            "train: {epoch: 3}\n" + SMALL,
            "params.yaml with params/mine.yaml: train.epoch: unknown key;",
        ),
        ("report: 3\n" + SMALL, "report: must be a section of keys"),
        ("tracking: null\n" + SMALL, "tracking: must be a section of keys"),
        ("variants: {other: {}}\n" + GRID, "grid.variant: 'small' is not among variants: other"),
        ("train: [\n", "params/mine.yaml is not valid YAML"),
        ("", "mine.yaml must contain sections"),
    ],
)
def test_a_wrong_set_is_told_and_nothing_is_written(text: str, said: str, write: Writer) -> None:
    project = write(text)
    with pytest.raises(PipelineError, match=r"mine\.yaml") as error:
        create_study("mine", project)
    assert said in str(error.value)
    assert not (project / "studies").exists()


def test_an_unknown_set_is_answered_with_the_nearest(write: Writer) -> None:
    project = write(SMALL)
    with pytest.raises(PipelineError, match=r"no preset 'mien': params/mien\.yaml does not exist; did you mean mine\?"):
        find_preset("mien", project)
    with pytest.raises(PipelineError, match="presets: mine"):
        find_preset("xyz", project)
    (project / "params/My Set.yaml").touch()
    with pytest.raises(PipelineError, match="a preset's name may contain a-z"):
        list_presets(project)
    shutil.rmtree(project / "params")
    with pytest.raises(PipelineError, match=r"has no preset"):
        find_preset("mine", project)


def test_the_command_lists_the_sets_and_makes_one_from_anywhere_in_the_project(
    write: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = write("report: {title: Why?}\n" + SMALL)
    assert CliRunner().invoke(main, ["study"]).output == "mine  Why?\n"
    monkeypatch.chdir(project / "data")
    result = CliRunner().invoke(main, ["study", "mine", "--data", "sample"])
    assert result.output == "studies/mine: 1 run. Why?\n"
    assert read_params(project / "studies/mine/params.yaml").data.path == "../../data/sample"


def test_a_study_knows_its_project_and_its_commands(write: Writer, tmp_path: Path) -> None:
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
