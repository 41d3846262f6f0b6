import contextlib
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import PipelineError
from pipeline.params import Tracking
from pipeline.tracking.run_metrics import epoch_metrics
from pipeline.tracking.store import open_client
from pipeline.tracking.ui import BLOCKED_PORTS, LOOPBACK, ServerAddress, prepare_view, serve
from tests.tracking.conftest import Upload, epochs, upload_content

SERVE = """
import sys
from pipeline.params import Tracking
from pipeline.tracking.ui import ServerAddress, serve
sys.exit(serve(Tracking(uri=None, experiment="learning-report"), ServerAddress(sys.argv[1], int(sys.argv[2]))))
"""
# learning rate, val_loss_best: in the table's order; the diverged one has none
RUNS = ((0.001, 0.386), (0.0001, 0.45), (0.01, 0.52), (1.0, None))


@dataclass(frozen=True)
class Server:
    process: "subprocess.Popen[str]"
    address: str
    link: str
    project: Path
    said: str


@contextlib.contextmanager
def serving(project: Path, host: str = LOOPBACK) -> Iterator[Server]:
    """MLflow's server as a user starts it."""
    port = _free_port()
    without = {name: value for name, value in os.environ.items() if name not in ("MLFLOW_TRACKING_URI", "DVC_ROOT")}
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, host, str(port)],
        cwd=project,
        env={**without, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "Ctrl-C" in line:
                break
        said = "".join(lines)
        link = re.search(r"lowest first: (http\S+)", said)
        assert link, lines
        yield Server(process, f"http://{LOOPBACK}:{port}", link[1], project, said)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[Server]:
    """A server over four runs."""
    project = tmp_path_factory.mktemp("project")
    shutil.copyfile(empty_store, project / "mlflow.db")
    tracking = Tracking(uri=f"sqlite:///{project}/mlflow.db", experiment="learning-report")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        for rate, loss in (RUNS[number] for number in (2, 3, 0, 1)):  # trained in another order
            _train(tracking, rate, loss)

    with serving(project) as found:
        yield found


def _train(tracking: Tracking, rate: float, loss: float | None) -> None:
    rows = [
        {
            "epoch": epoch,
            "learning_rate": rate / epoch,
            "objective": 1 / epoch,
            "train_iou_cat": 0.5,
            "train_loss": 1 / epoch,
            "val_loss": (loss or 2) + 0.1 / epoch,
        }
        for epoch in range(1, 13)
    ]
    upload_content(
        tracking,
        name=f"unet-{rate}-0",
        key=hashlib.sha256(str(rate).encode()).hexdigest(),
        parameters={"variant": "unet", "learning_rate": rate, "seed": 0},
        tags={"pipeline.status": "finished" if loss else "diverged"},
        epochs=epochs(*map(epoch_metrics, rows)),
        metrics={"val_loss_best": loss, "gap": 0.1, "best_epoch": 12, "val_mean_iou_best": 0.8} if loss else {},
        ended_ms=12_000,
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on the PATH")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


def test_loss_and_learning_rate_are_in_sight_beside_the_open_side_panel(server: Server, browser: Any) -> None:
    page = browser.new_page(viewport={"width": 1500, "height": 900})
    page.goto(server.link)
    page.get_by_role("link", name="unet-0.001-0", exact=True).wait_for(timeout=60_000)
    panel = page.get_by_text("MLflow Assistant").bounding_box()
    for name in ("val_loss_best", "learning_rate"):
        header = page.get_by_role("columnheader", name=name).first.bounding_box()
        assert header["x"] + header["width"] < panel["x"] < 1500
    page.close()


def test_a_run_shows_its_losses_first_and_the_rate_by_another_name(server: Server, browser: Any) -> None:
    page = browser.new_page(viewport={"width": 1500, "height": 3000})
    client = open_client(server.address)
    experiment = client.get_experiment_by_name("learning-report")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    pages = f"{server.address}/#/experiments/{experiment.experiment_id}/runs"
    for address in (f"{pages}/{runs[0].info.run_id}/model-metrics", f"{pages}?compareRunsMode=CHART"):
        page.goto(address)
        page.get_by_text("optimizer", exact=True).first.wait_for(timeout=60_000)
        places = [
            page.get_by_text(name, exact=True).first.bounding_box()["y"] for name in ("loss", "optimizer", "train_iou")
        ]
        assert places == sorted(places)
    assert "learning_rate" not in runs[0].data.metrics
    page.close()


def test_the_link_opens_a_table_with_the_lowest_loss_on_top(server: Server, browser: Any) -> None:
    # Wide: the table draws only the columns that are in sight, and MLflow's assistant takes the right quarter.
    page = browser.new_page(viewport={"width": 2400, "height": 900})
    page.goto(server.link)
    names = [page.get_by_role("link", name=f"unet-{rate}-0", exact=True) for rate, _ in RUNS]
    names[-1].wait_for(timeout=60_000)
    heights = [name.bounding_box()["y"] for name in names]
    headers = set(page.get_by_role("columnheader").all_inner_texts())
    note = page.get_by_text("Runs are ordered by val_loss_best").count()
    if folder := os.environ.get("SCREENSHOTS"):
        page.set_viewport_size({"width": 1400, "height": 900})
        page.screenshot(path=f"{folder}/mlflow-best.png")
    page.close()
    assert heights == sorted(heights)
    columns = {"variant", "learning_rate", "seed", "val_loss_best", "gap"}
    assert columns | {"pipeline.status"} <= headers
    assert note == 1


def test_upload_works_through_the_server(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    tracking = Tracking(uri=None, experiment="another")
    files = {"tests": {"test_ui.py": Path(__file__)}}
    for ended_ms in (0, 1):
        content = epochs({"train_loss": 0.5, "objective": float("nan")}, ended_ms=ended_ms)
        run = upload_content(tracking, key="ab" * 32, epochs=content, files=files)
    client = open_client(server.address)
    found = client.get_run(run.run_id)
    assert (run.num_points, run.num_folders) == (0, 0)
    assert (found.info.status, found.data.metrics) == ("FINISHED", {"train_loss": 0.5})
    assert [point.timestamp for point in client.get_metric_history(run.run_id, "train_loss")] == [1]
    assert [item.path for item in client.list_artifacts(run.run_id, "tests")] == ["tests/test_ui.py"]


def test_a_server_that_runs_is_only_linked_to(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address + "/")
    assert serve(Tracking(uri=None, experiment="learning-report"), ServerAddress(LOOPBACK, 1)) == 0
    assert server.link in capsys.readouterr().out
    with pytest.raises(PipelineError, match=r"no experiment 'other'.*make report"):
        serve(Tracking(uri=None, experiment="other"), ServerAddress(LOOPBACK, 1))


def test_only_who_asks_for_it_is_reached_from_elsewhere_and_is_told(server: Server) -> None:
    assert "without a password" not in server.said
    port = int(server.address.rpartition(":")[2])
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.2", port)) != 0  # another address of this machine
    with serving(server.project, "0.0.0.0") as everywhere:
        assert re.search(r"Listening on 0\.0\.0\.0: .* can read, change and delete all runs", everywhere.said)
        assert everywhere.link.startswith(everywhere.address)  # which a browser on this machine can open
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.2", int(everywhere.address.rpartition(":")[2]))) == 0


def test_the_whole_group_ends_with_the_command(server: Server) -> None:
    # The last test of the module: the server is gone after it.
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(timeout=30) == 0
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")] if Path("/proc").exists() else []
    assert not [command for command in commands if server.address.rpartition(":")[2].encode() in command.split(b"\0")]
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(server.address.rpartition(":")[2]))) != 0


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (ServerAddress("example.org", 5000), r"--host must be an IP address such as 127\.0\.0\.1, not 'example\.org'"),
        (ServerAddress("192.0.2.1", 5000), r"This machine has no address 192\.0\.2\.1"),  # RFC 5737: nobody's
    ],
)
def test_an_address_that_is_not_to_be_had_is_named(address: ServerAddress, said: str) -> None:
    with pytest.raises(PipelineError, match=said):
        address.check()


@pytest.mark.parametrize(
    ("host", "private", "url"),
    [
        ("127.0.0.1", True, "http://127.0.0.1:5000"),
        ("0.0.0.0", False, "http://127.0.0.1:5000"),
        ("::1", True, "http://[::1]:5000"),
        ("::", False, "http://[::1]:5000"),
        ("192.168.1.7", False, "http://192.168.1.7:5000"),
    ],
)
def test_a_browser_gets_an_address_that_it_can_open(host: str, private: bool, url: str) -> None:
    address = ServerAddress(host, 5000)
    assert (address.is_private, address.url) == (private, url)


def test_a_taken_port_is_named(project: Path, tracking: Tracking, upload: Upload) -> None:
    upload()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PipelineError, match=rf"Port {port} of 127.0.0.1 is used by another program.*--port \d+"):
            serve(tracking, ServerAddress(LOOPBACK, port))


def test_before_the_first_training_there_is_nothing_to_see(bare_project: Path, tracking: Tracking) -> None:
    with pytest.raises(PipelineError, match=r"no experiment .*make report"):
        serve(tracking, ServerAddress(LOOPBACK, _free_port()))
    assert list(bare_project.iterdir()) == []


def test_a_server_that_is_down_is_named(tracking: Tracking, closed_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{closed_port}")
    with pytest.raises(PipelineError, match=rf"MLflow at http://127.0.0.1:{closed_port} does not answer") as raised:
        prepare_view(tracking)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("port", [2049, 6000, 6667, 10080])
def test_a_port_that_browsers_block_is_refused_with_one_that_they_open(port: int) -> None:
    with pytest.raises(PipelineError, match=rf"Port {port} .* blocked by browsers") as refused:
        ServerAddress(LOOPBACK, port).check()
    suggested = int(str(refused.value).rpartition("--port ")[2])
    assert suggested not in BLOCKED_PORTS
    ServerAddress(LOOPBACK, suggested).check()
