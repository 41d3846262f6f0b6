"""Reports of runs that exist only on an MLflow server."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from pipeline.analysis.leaderboard import SeedResult
from pipeline.artifacts.evaluation_folder import EvaluationFolder
from pipeline.artifacts.prepared_data import PreparedData
from pipeline.artifacts.project import COMPARISON, EVALUATION, PREPARED, RUNS, TEMPLATES, Project
from pipeline.artifacts.run_folder import RunFolder
from pipeline.cli import main
from pipeline.compare.compare_runs import compare
from pipeline.errors import PipelineError
from pipeline.evaluate.evaluate_run import evaluate_run
from pipeline.mlflow_report.fetch_grid import DOWNLOADS, fetch_grid
from pipeline.mlflow_report.render import render_mlflow_report
from pipeline.params import Compare, Params, ShowcaseImage
from pipeline.params.file import read_params
from pipeline.report.write_report import write_report
from pipeline.tracking.store import open_client
from pipeline.tracking.sync import sync_runs
from pipeline.tracking.tags import DATA_FINGERPRINT, RUN_KEY, get_user
from pipeline.tracking.team_results import read_team_results
from pipeline.train.train_cell import train_and_log
from tests.conftest import ROOT, write_params
from tests.servers import MlflowServer

if TYPE_CHECKING:
    from mlflow.entities import Run

NAMES = ("unet-0.01-0", "unet-0.01-1", "unet-0.001-0")
CHANGES: dict[str, Any] = {"grid": {"variant": ["unet"], "learning_rate": [0.01, 0.001], "seed": [0, 1]}}

pytestmark = pytest.mark.timeout(120)


@dataclass(frozen=True)
class Team:
    """A project whose runs were logged to a server and deleted from its disk."""

    root: Path
    params: Params
    server: str
    experiment_id: str
    run_ids: dict[str, str]  # by run name
    run_keys: dict[str, str]  # by run name
    table: list[str]  # rows of the table of all runs, rendered from disk
    files: Path  # copy of the folders `run` and `evaluation` of the second run, without weights


def evaluate(params: Params, run: str) -> None:
    """Evaluate a run and upload it, as `pipeline sweep` does."""
    evaluate_run(params, run)
    list(sync_runs(params, [run], Project()))


def read_table(page: Path) -> list[str]:
    return re.findall(r'<tr id="run-.*?</tr>', page.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def team(prepared: Path, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    root, server_folder = tmp_path_factory.mktemp("team") / "project", tmp_path_factory.mktemp("server")
    shutil.copytree(prepared, root)
    shutil.copy(store, server_folder / "mlflow.db")
    for name in (TEMPLATES, Path("reports/notes.md")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(ROOT / name)
    with (
        pytest.MonkeyPatch.context() as patch,
        MlflowServer(f"sqlite:///{server_folder}/mlflow.db", server_folder).running() as server,
    ):
        patch.chdir(root)
        patch.delenv("DVC_ROOT", raising=False)
        patch.setenv("MLFLOW_TRACKING_URI", server)
        params = read_params(write_params(root, CHANGES))
        for cell in params.cells()[:3]:
            train_and_log(params, cell)
            evaluate(params, cell.name)
        compare(params, cells=params.cells()[:3])
        before = read_table(write_report(params, None, root / "from-disk.html").path)
        keys = {name: Project(root).run(name).record.key for name in NAMES}
        files = root / "files"
        for folder, part in ((RUNS, "run"), (EVALUATION, "evaluation")):
            shutil.copytree(root / folder / NAMES[1], files / part, ignore=shutil.ignore_patterns(RunFolder.WEIGHTS))
        for folder in (RUNS, EVALUATION, COMPARISON):
            shutil.rmtree(root / folder)
        client = open_client(server)
        experiment = client.get_experiment_by_name(params.tracking.experiment)
        assert experiment is not None
        ids = {run.info.run_name: run.info.run_id for run in client.search_runs([experiment.experiment_id])}
        yield Team(root, params, server, experiment.experiment_id, ids, keys, before, files)


@pytest.fixture(autouse=True)
def _use_server(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(team.root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", team.server)


def test_fetched_runs_are_rendered_as_runs_on_disk(team: Team) -> None:
    page = render_mlflow_report(team.params, "metrics.val_loss_best < 100")
    assert page.faults == ()
    assert page.path == Path("reports/mlflow-unet-0.01-0+unet-0.01-1+unet-0.001-0.html")
    assert read_table(page.path) == team.table
    assert len(team.table) == 3
    html = page.path.read_text(encoding="utf-8")
    assert "This page shows 3 runs from MLflow (mlflow:metrics.val_loss_best &lt; 100)" in html
    assert "the lowest validation loss of these runs" in html  # training was too short for a verdict
    assert "their test scores are not shown" in html  # selecting runs by their scores biases the test scores
    assert "pipeline report --runs &#39;mlflow:metrics.val_loss_best &lt; 100&#39;" in html
    assert html.count("data:image/") > 10  # examples and showcase were fetched too
    assert 'id="authors"' not in html  # there is one author
    assert not list((team.root / DOWNLOADS).rglob("*.safetensors"))


def test_run_is_fetched_once_and_a_damaged_file_again(team: Team) -> None:
    render_mlflow_report(team.params, ",".join(team.run_ids.values()))
    folders = [team.root / DOWNLOADS / run_id for run_id in team.run_ids.values()]
    cached = {path: path.stat().st_ino for folder in folders for path in folder.rglob("*.*") if path.is_file()}
    assert len(cached) > 3 * 8
    render_mlflow_report(team.params, ",".join(team.run_ids.values()))
    assert {path: path.stat().st_ino for path in cached} == cached
    damaged = team.root / DOWNLOADS / team.run_ids[NAMES[0]] / "run" / RunFolder.HISTORY
    content = damaged.read_bytes()
    damaged.write_bytes(content[::-1])  # of the same size
    assert render_mlflow_report(team.params, ",".join(team.run_ids.values())).faults == ()
    assert damaged.read_bytes() == content


def test_latest_selects_the_run_started_last(team: Team) -> None:
    page = render_mlflow_report(team.params, "latest", team.root / "latest.html")
    assert re.findall(r'id="run-([\w.-]+)"', page.path.read_text(encoding="utf-8")) == [NAMES[2]]


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (" ", r"`mlflow:` must be followed by a selection of runs. Use `latest`, run ids of 32 hexadecimal"),
        (
            "metrics.val_loss_best < 0",
            r"no finished run that matches 'metrics.val_loss_best < 0'; the finished runs are unet-0.001-0",
        ),
        ("val_loss_best <", r"rejected the filter 'val_loss_best <'.*metrics.val_loss_best < 0.4"),
        ("0123456789abcdef" * 2, r"no run with the id 0123456789abcdef"),
    ],
)
def test_selection_without_runs_is_reported(team: Team, selection: str, message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        render_mlflow_report(team.params, selection)


def test_search_selects_the_newest_run_of_a_name_and_an_id_any(team: Team) -> None:
    train = {"epochs": 1, "precision": "float32", "num_threads": 2}  # the number of threads does not matter
    other = read_params(write_params(team.root, {**CHANGES, "train": train}))
    train_and_log(other, other.cell("unet", 0.01, 0))
    evaluate(other, NAMES[0])
    client = open_client(team.server)
    both = client.search_runs([team.experiment_id], f"attributes.run_name = '{NAMES[0]}'")
    assert len(both) == 2

    def read_epochs(selection: str) -> str:
        rows = read_table(render_mlflow_report(team.params, selection, team.root / "one.html").path)
        (match,) = [re.search(r"\d / (\d)", row) for row in rows if f'id="run-{NAMES[0]}"' in row]
        assert match
        return match[1]

    try:
        assert read_epochs(team.run_ids[NAMES[0]]) == "2"
        assert read_epochs("metrics.val_loss_best < 100") == "1"  # the newest
        with pytest.raises(PipelineError, match=rf"2 runs are named {NAMES[0]}: [0-9a-f]{{32}}, [0-9a-f]{{32}}"):
            render_mlflow_report(team.params, ",".join(run.info.run_id for run in both))
        _check_seeds_with_other_parameters(team, both)
    finally:
        (new,) = {run.info.run_id for run in both} - {team.run_ids[NAMES[0]]}
        client.delete_run(new)


def _check_seeds_with_other_parameters(team: Team, both: Sequence[Run]) -> None:
    """Check that the new seed 0 and the old seed 1 do not form a setting."""
    query = "metrics.val_loss_best < 100"
    done = CliRunner().invoke(main, ["report", "--runs", f"mlflow:{query}", "--out", "one.html"])
    assert done.exit_code == 0, done.output
    (notice,) = done.stderr.splitlines()
    difference = "train.epochs is 2 instead of 1 and train.precision is auto instead of float32"
    reason = f"1 run was skipped, because newer runs differ ({difference}): unet-0.01-1 of "
    assert notice.startswith(f"Notice: {reason}")
    assert reason in (team.root / "one.html").read_text("utf-8")
    assert re.findall(r'id="run-([^"]+)"', "".join(read_table(team.root / "one.html"))) == [NAMES[2], NAMES[0]]
    assert fetch_grid(team.params, query, Project()).skipped == (notice.removeprefix("Notice: "),)
    (new,) = {run.info.run_id for run in both} - {team.run_ids[NAMES[0]]}
    with pytest.raises(
        PipelineError, match=r"unet-0.01-[01] of .* \(train.epochs is \d instead of \d and .*\)\. Leave"
    ):
        render_mlflow_report(team.params, f"{team.run_ids[NAMES[1]]},{new}")


@pytest.mark.parametrize(
    ("old", "new", "difference"),
    [
        ('"unit": "px"', '"unit": "inch"', "data.pixel_unit is inch instead of px"),
        ('"tolerance": 2.0', '"tolerance": 12.0', "evaluation.surface_tolerance is 12 px instead of 2 px"),
    ],
)
def test_run_measured_in_another_way_is_skipped(team: Team, old: str, new: str, difference: str) -> None:
    client = open_client(team.server)
    run_id = team.run_ids[NAMES[1]]
    folder = Path(client.download_artifacts(run_id, "evaluation"))
    metrics = folder / EvaluationFolder.METRICS
    text = metrics.read_text(encoding="utf-8")
    assert old in text
    try:
        metrics.write_text(text.replace(old, new), encoding="utf-8")
        client.log_artifact(run_id, str(metrics), "evaluation")
        page = render_mlflow_report(team.params, "metrics.val_loss_best < 100", team.root / "one.html")
        (notice,) = page.notices
        assert difference in notice
        assert notice.endswith(f"{NAMES[1]} of {get_user()}.")
        assert len(read_table(page.path)) == 2
    finally:
        metrics.write_text(text, encoding="utf-8")
        client.log_artifact(run_id, str(metrics), "evaluation")


def test_run_without_evaluation_is_skipped(team: Team) -> None:
    other = read_params(write_params(team.root, {**CHANGES, "train": {"epochs": 1}}))
    train_and_log(other, other.cell("unet", 0.001, 1))
    assert "unet-0.001-1" not in "".join(
        read_table(render_mlflow_report(team.params, "latest", team.root / "a.html").path)
    )
    page = render_mlflow_report(team.params, "metrics.`loss/val` < 100", team.root / "a.html")
    assert len(read_table(page.path)) == 3


def test_report_of_several_authors_has_a_leaderboard(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of the same cell by different authors are separate runs; authors without a run are not listed."""
    other = read_params(write_params(team.root, {**CHANGES, "train": {"epochs": 3}}))
    client = open_client(team.server)
    monkeypatch.setenv("LOGNAME", "eve <i>")
    for seed in (0, 1):
        train_and_log(other, other.cell("unet", 0.001, seed))
        evaluate(other, f"unet-0.001-{seed}")
    try:
        page = render_mlflow_report(team.params, "metrics.val_loss_best < 100", team.root / "all.html")
        html = page.path.read_text("utf-8")
        names = re.findall(r'id="run-([^"]+)"', html)
        assert len(names) == 5
        assert sum(name.startswith("unet@eve_i_-") and name.endswith("-0.001-0") for name in names) == 1
        assert re.search(r"2 people trained \d+ runs on these images", html)
        assert "eve <i>" not in html
        # The reader's row is marked.
        assert re.search(r'<tr class="best"><td class="n">\d</td><th scope="row">eve &lt;i&gt;</th>', html)
        (eve_run,) = client.search_runs([team.experiment_id], "tags.`mlflow.user` = 'eve <i>' and params.seed = '1'")
        both = render_mlflow_report(
            team.params, f"{team.run_ids[NAMES[2]]},{eve_run.info.run_id}", team.root / "both.html"
        )
        assert "no seed in common" in both.path.read_text("utf-8")
        _check_leaderboard_by_accuracy(team)
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "nobody")  # takes precedence over LOGNAME
        html = render_mlflow_report(team.params, "latest", team.root / "latest.html").path.read_text("utf-8")
        assert re.findall(r'id="run-([^"]+)"', html) == ["unet-0.001-1"]  # runs of one author are not prefixed
        assert "2 people trained " in html
        assert '<tr class="best"><td class="n">' not in html
    finally:
        delete_runs_of(team, "eve <i>")


def _check_leaderboard_by_accuracy(team: Team) -> None:
    """Check that authors are ranked by the reader's metric, and that runs without it in MLflow are counted."""
    fingerprint = Project(team.root).prepared.dataset.fingerprint
    found = read_team_results(team.params.tracking, fingerprint, "accuracy")
    assert found.left_out == ()
    unknown = read_team_results(team.params.tracking, fingerprint, "object_f1")
    assert unknown.results == ()
    (sentence,) = unknown.left_out
    assert f"{len(found.results)} runs without val_object_f1 in MLflow" in sentence
    measurement = {"data.pixel_unit": "µm"}
    other_unit = read_team_results(team.params.tracking, fingerprint, "hd95", measurement)
    assert other_unit.results == ()
    assert "val_hd95 was measured in another way: data.pixel_unit is px instead of µm" in other_unit.left_out[0]
    assert read_team_results(team.params.tracking, fingerprint, "accuracy", measurement) == found
    params = team.params.model_copy(update={"compare": Compare(rank_by="accuracy")})
    html = render_mlflow_report(params, "latest", team.root / "ranked.html").path.read_text("utf-8")
    section = html.partition('aria-label="Results by author"')[2].partition("</table>")[0]
    assert '<th scope="col" class="n">Accuracy</th>' in section
    values = [float(row.split('<td class="n">')[1][:5]) for row in section.split("</th>")[9:]]
    best = max(fmean(values) for values in _group_by_setting(found.results))
    assert values == sorted(values, reverse=True)
    assert values[0] == pytest.approx(best, abs=5e-4)


def _group_by_setting(results: Sequence[SeedResult]) -> list[list[float]]:
    groups: dict[tuple[str, str], list[float]] = {}
    for result in results:
        assert result.value is not None
        groups.setdefault((result.author, result.setting), []).append(result.value)
    return list(groups.values())


def test_missing_showcase_images_are_no_fault_of_fetched_runs(team: Team) -> None:
    report = team.params.report.model_copy(update={"showcase": [ShowcaseImage(file="dog.png")]})
    params = team.params.model_copy(update={"report": report})
    assert render_mlflow_report(params, team.run_ids[NAMES[1]], team.root / "a.html").faults == ()


def test_run_without_files_is_reported(team: Team) -> None:
    client = open_client(team.server)
    empty = client.create_run(team.experiment_id, run_name="other-user")
    with pytest.raises(PipelineError, match=r"other-user .* has no folder evaluation and no folder run"):
        render_mlflow_report(team.params, empty.info.run_id)


def test_run_name_with_a_path_is_refused(team: Team, tmp_path: Path) -> None:
    """Write access to the server must not give write access to its readers' disks."""
    client = open_client(team.server)
    source = client.get_run(team.run_ids[NAMES[1]])
    shutil.copytree(team.files, tmp_path / "copy")
    record = tmp_path / "copy/run" / RunFolder.RECORD
    record.write_text(record.read_text().replace(f'"run": "{NAMES[1]}"', '"run": "../../../elsewhere"'))
    wrong = client.create_run(source.info.experiment_id, run_name="wrong", tags={RUN_KEY: source.data.tags[RUN_KEY]})
    for part in ("run", "evaluation"):
        client.log_artifacts(wrong.info.run_id, str(tmp_path / "copy" / part), part)
    with pytest.raises(PipelineError, match=r"'\.\./\.\./\.\./elsewhere' in run\.json"):
        render_mlflow_report(team.params, wrong.info.run_id)
    assert not list(team.root.rglob("elsewhere"))
    client.delete_run(wrong.info.run_id)  # other tests expect one run with this key


@contextlib.contextmanager
def change_fingerprint(team: Team) -> Iterator[None]:
    """Change the fingerprint of the prepared data inside the block."""
    path = team.root / PREPARED / PreparedData.CLASSES
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(r'"fingerprint": "\w+"', f'"fingerprint": "{"0" * 64}"', text), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(text, encoding="utf-8")


def test_run_id_of_other_data_is_refused(team: Team) -> None:
    with (
        change_fingerprint(team),
        pytest.raises(PipelineError, match=r"unet-0.01-1: not trained on the data in data/prepared"),
    ):
        render_mlflow_report(team.params, team.run_ids[NAMES[1]])


def test_search_without_runs_of_the_prepared_data_lists_its_matches(team: Team) -> None:
    message = r"no run on the data in data/prepared to show for 'latest'\.\n\d runs were skipped, .*unet-0.01-1"
    with change_fingerprint(team), pytest.raises(PipelineError, match=message):
        render_mlflow_report(team.params, "latest")


def test_run_of_other_data_is_reported_and_does_not_replace_an_older_run(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "mia")
    mia_params = read_params(write_params(team.root, {**CHANGES, "train": {"epochs": 3}}))
    train_and_log(mia_params, mia_params.cell("unet", 0.001, 1))
    evaluate(mia_params, "unet-0.001-1")
    changed = read_params(write_params(team.root, {**CHANGES, "train": {"epochs": 4}}))
    with change_fingerprint(team):
        train_and_log(changed, changed.cell("unet", 0.001, 1))
        evaluate(changed, "unet-0.001-1")
    try:
        done = CliRunner().invoke(main, ["report", "--runs", "mlflow:metrics.val_loss_best < 100", "--out", "all.html"])
        assert done.exit_code == 0, done.output
        notice = "1 run was skipped, because data/prepared contains different data: mia (unet-0.001-1)."
        assert done.stderr.splitlines() == [f"Notice: {notice}"]
        html = (team.root / "all.html").read_text("utf-8")
        assert notice in html
        (row,) = [row for row in read_table(team.root / "all.html") if 'id="run-unet@mia-0.001-1"' in row]
        assert re.search(r"\d / 3", row)
        assert len(read_table(team.root / "all.html")) == 4
    finally:
        delete_runs_of(team, "mia")


INVALID_FILES: tuple[tuple[str, Callable[[str], str] | None, str], ...] = (
    ("run/run.json", lambda text: text.replace('"format": ', '"format": 9'), "this version reads format"),
    ("run/history.csv", lambda text: text.replace("val_loss", "loss"), "it has no column val_loss"),
    ("evaluation/metrics.json", lambda text: "[]", "should be an object"),
    ("evaluation/per_image.csv", None, "per_image.csv is missing"),
    ("run", None, "has no folder run"),
)


def test_runs_with_invalid_files_are_reported_and_skipped(team: Team, tmp_path: Path) -> None:
    client = open_client(team.server)
    created = []
    try:
        for number, (file, change, _) in enumerate(INVALID_FILES):
            files = tmp_path / f"files-{number}"
            shutil.copytree(team.files, files)
            path = files / file
            if change:
                path.write_text(change(path.read_text("utf-8")), encoding="utf-8")
            elif path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
            tags = client.get_run(team.run_ids[NAMES[1]]).data.tags
            tags = {RUN_KEY: tags[RUN_KEY], DATA_FINGERPRINT: tags[DATA_FINGERPRINT], "mlflow.user": f"tom{number}"}
            run_id = client.create_run(team.experiment_id, run_name=NAMES[1], tags=tags).info.run_id
            created.append(run_id)
            client.log_metric(run_id, "val_loss_best", 0.1)
            for part in ("run", "evaluation"):
                if (files / part).exists():
                    client.log_artifacts(run_id, str(files / part), part)
            client.set_terminated(run_id)
        page = render_mlflow_report(team.params, "metrics.val_loss_best < 100", tmp_path / "all.html")
        assert len(read_table(page.path)) == 3
        for number, ((*_, fault), notice) in enumerate(zip(INVALID_FILES, sorted(page.notices), strict=True)):
            assert notice.startswith(f"{NAMES[1]} of tom{number} was skipped: ")
            assert fault in notice
    finally:
        for run_id in created:
            client.delete_run(run_id)


def delete_runs_of(team: Team, user: str) -> None:
    """Delete a user's runs, which other tests do not expect."""
    client = open_client(team.server)
    for run in client.search_runs([team.experiment_id], f"tags.`mlflow.user` = '{user}'"):
        client.delete_run(run.info.run_id)


def test_provenance_links_the_run_on_the_server(team: Team) -> None:
    page = render_mlflow_report(team.params, team.run_ids[NAMES[1]], team.root / "live.html", provenance=True)
    (address,) = re.findall(r'<dt>MLflow</dt><dd><a href="(.*?)">unet-0.01-1, ', page.path.read_text(encoding="utf-8"))
    assert re.fullmatch(rf"{team.server}/#/experiments/\d+/runs/{team.run_ids[NAMES[1]]}", address)


def test_unreachable_server_is_reported(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(PipelineError, match=r"MLflow at http://127.0.0.1:9 does not answer"):
        render_mlflow_report(team.params, "latest")
