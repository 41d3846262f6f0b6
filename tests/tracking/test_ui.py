"""`pipeline ui`: MLflow's server, its link to the table of runs, and its errors."""

from __future__ import annotations

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
from typing import TYPE_CHECKING

import pytest

from pipeline.analysis.ranked_metric import get_metric
from pipeline.artifacts.project import Project
from pipeline.errors import PipelineError
from pipeline.params import Tracking
from pipeline.tracking.run_content import convert_epoch_metrics
from pipeline.tracking.run_images import RunImages
from pipeline.tracking.saved_view import SETTINGS_VIEW, VIEW, name_views
from pipeline.tracking.store import open_client
from pipeline.tracking.tags import SETTING, name_setting
from pipeline.tracking.ui import BLOCKED_PORTS, LOOPBACK, ServerAddress, prepare_view, serve
from tests.conftest import TRAINED
from tests.tracking.conftest import Upload, create_epochs, upload_content

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, FloatRect, Locator, Page

SERVE = """
import sys
from pipeline.params import Tracking
from pipeline.tracking.ui import ServerAddress, serve
sys.exit(serve(Tracking(uri=None, experiment="learning-report"), ServerAddress(sys.argv[1], int(sys.argv[2]))))
"""
OTHER_LOOPBACK = "127.0.0.2"  # reaches only servers that listen on all addresses
# learning rate and val_loss_best in the table's order; a diverged run has no loss
RUNS = ((0.001, 0.386), (0.0001, 0.45), (0.01, 0.52), (1.0, None))
# A second seed with a lower loss than any other run, whose setting has only the second-lowest mean
SECOND_SEED = (0.01, 0.3)
SETTINGS = ("0.001", "0.01", "0.0001", "1.0")  # learning rates by mean loss


@dataclass(frozen=True)
class Server:
    process: subprocess.Popen[str]
    address: str
    link: str
    settings_link: str
    output: str

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])


@contextlib.contextmanager
def run_server(project: Path, host: str = LOOPBACK) -> Iterator[Server]:
    """Start MLflow's server as `pipeline ui` does."""
    port = _find_free_port()
    environment = {name: value for name, value in os.environ.items() if name not in ("MLFLOW_TRACKING_URI", "DVC_ROOT")}
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, host, str(port)],
        cwd=project,
        env={**environment, "PYTHONPATH": str(Path(__file__).parents[2])},
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
        output = "".join(lines)
        link = re.search(r"Runs by validation loss, lowest first: (http\S+)", output)
        settings_link = re.search(r"Settings by mean validation loss, lowest first: (http\S+)", output)
        assert link, lines
        assert settings_link, lines
        yield Server(process, f"http://{LOOPBACK}:{port}", link[1], settings_link[1], output)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, empty_store: Path, trained: Path) -> Iterator[Server]:
    """A server over five runs with the images of a trained run."""
    project = tmp_path_factory.mktemp("project")
    shutil.copyfile(empty_store, project / "mlflow.db")
    tracking = Tracking(uri=f"sqlite:///{project}/mlflow.db", experiment="learning-report")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        for learning_rate, loss in (RUNS[number] for number in (2, 3, 0, 1)):  # not in the table's order
            _upload_training(tracking, learning_rate, loss, trained)
        _upload_training(tracking, *SECOND_SEED, trained, seed=1)

    with run_server(project) as server:
        yield server


def _upload_training(
    tracking: Tracking, learning_rate: float, loss: float | None, trained: Path, seed: int = 0
) -> None:
    project = Project(trained)
    rows = [
        {
            "epoch": epoch,
            "learning_rate": learning_rate / epoch,
            "objective": 1 / epoch,
            "train_iou_cat": 0.5,
            "train_loss": 1 / epoch,
            "val_loss": (loss or 2) + 0.1 / epoch,
        }
        for epoch in range(1, 13)
    ]
    upload_content(
        tracking,
        name=f"unet-{learning_rate}-{seed}",
        key=hashlib.sha256(f"{learning_rate} {seed}".encode()).hexdigest(),
        parameters={"variant": "unet", "learning_rate": learning_rate, "seed": seed},
        tags={
            "pipeline.status": "finished" if loss else "diverged",
            SETTING: name_setting({"variant": "unet", "learning_rate": learning_rate, "seed": seed}, "f0" * 32),
        },
        images=RunImages.find(project.run(TRAINED), project.prepared),
        epochs=create_epochs(*map(convert_epoch_metrics, rows)),
        metrics={"val_loss_best": loss, "gap": 0.1, "best_epoch": 12, "val_mean_iou_best": 0.8} if loss else {},
        ended_ms=12_000,
    )


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def context(browser: Browser) -> BrowserContext:
    """One context for all pages, so that Chromium loads and compiles MLflow's scripts once."""
    context = browser.new_context()
    context.set_default_timeout(60_000)
    return context


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    page = context.new_page()
    yield page
    page.close()


def get_box(element: Locator) -> FloatRect:
    box = element.bounding_box()
    assert box is not None
    return box


def test_loss_and_learning_rate_are_visible_next_to_the_side_panel(server: Server, page: Page) -> None:
    page.set_viewport_size({"width": 1500, "height": 900})
    page.goto(server.link)
    page.get_by_role("link", name="unet-0.001-0", exact=True).wait_for()
    panel = get_box(page.get_by_text("MLflow Assistant"))
    for name in ("val_loss_best", "learning_rate"):
        header = get_box(page.get_by_role("columnheader", name=name).first)
        assert header["x"] + header["width"] < panel["x"] < 1500


def test_charts_and_run_page_show_losses_first_and_images_of_the_showcase(server: Server, page: Page) -> None:
    client = open_client(server.address)
    experiment = client.get_experiment_by_name("learning-report")
    assert experiment is not None
    run = client.search_runs([experiment.experiment_id])[0]
    assert "learning_rate" not in run.data.metrics
    runs = f"{server.address}/#/experiments/{experiment.experiment_id}/runs"
    run_page = f"{runs}/{run.info.run_id}/model-metrics"
    page.set_viewport_size({"width": 1500, "height": 3000})
    for address in (f"{runs}?compareRunsMode=CHART", run_page):
        page.goto(address)
        page.get_by_text("optimizer", exact=True).first.wait_for()
        groups = [page.get_by_text(name, exact=True).first for name in ("loss", "optimizer", "train_iou")]
        positions = [get_box(group)["y"] for group in groups]
        assert positions == sorted(positions)
    for address, count in ((run_page, 1), (f"{server.link}&compareRunsMode=CHART", len(RUNS) + 1)):
        page.goto(address)
        images = page.locator("img[src*='showcase~prediction']")
        images.nth(count - 1).wait_for()
        assert all("step%2B0%2B" in (image.get_attribute("src") or "") for image in images.all())
        assert all(image.evaluate("image => image.complete && image.naturalWidth") == 128 for image in images.all())


def test_link_opens_a_table_sorted_by_loss(server: Server, page: Page) -> None:
    # Wide, because the table renders only visible columns and MLflow's assistant covers the right quarter.
    page.set_viewport_size({"width": 2400, "height": 900})
    page.goto(server.link)
    names = [page.get_by_role("link", name=f"unet-{learning_rate}-0", exact=True) for learning_rate, _ in RUNS]
    names[-1].wait_for()
    heights = [get_box(name)["y"] for name in names]
    assert heights == sorted(heights)
    headers = set(page.get_by_role("columnheader").all_inner_texts())
    columns = {"variant", "learning_rate", "seed", "val_loss_best", "gap"}
    assert columns | {"pipeline.status"} <= headers
    assert page.get_by_text("Runs are ordered by val_loss_best").count() == 1
    if folder := os.environ.get("SCREENSHOTS"):
        page.set_viewport_size({"width": 1400, "height": 900})
        page.screenshot(path=f"{folder}/mlflow-best.png")


def test_settings_link_opens_charts_and_settings_ranked_by_mean_loss(server: Server, page: Page) -> None:
    page.set_viewport_size({"width": 1500, "height": 900})
    page.goto(server.settings_link)
    groups = [page.get_by_text(f"Group: {learning_rate} unet") for learning_rate in SETTINGS]
    groups[-1].wait_for()
    heights = [get_box(group)["y"] for group in groups]
    assert heights == sorted(heights)
    assert page.get_by_role("link", name="unet-0.001-0", exact=True).count() == 0  # runs are collapsed
    page.get_by_text("Means over seeds, best first").wait_for()
    titles = [page.get_by_text(name, exact=True).first for name in ("val_loss_best", "loss/val", "gap", "loss/train")]
    positions = [(get_box(title)["y"], get_box(title)["x"]) for title in titles]
    assert positions == sorted(positions)
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=f"{folder}/mlflow-settings.png")


def test_views_are_listed_in_the_menu(server: Server, page: Page) -> None:
    page.set_viewport_size({"width": 1500, "height": 900})
    page.goto(server.link.partition("&")[0])
    page.get_by_test_id("saved-views-trigger").click()
    items = [page.get_by_test_id(f"saved-views-item-{view}") for view in (SETTINGS_VIEW, VIEW)]
    names = name_views(get_metric("val_loss", (), ("border",)))
    assert [names[SETTINGS_VIEW] in items[0].inner_text(), names[VIEW] in items[1].inner_text()] == [True, True]
    assert get_box(items[0])["y"] < get_box(items[1])["y"]
    items[0].click()
    page.get_by_text(f"Group: {SETTINGS[0]} unet").wait_for()


def test_upload_works_through_the_server(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    tracking = Tracking(uri=None, experiment="another")
    files = {"tests": {"test_ui.py": Path(__file__)}}
    for ended_ms in (0, 1):
        content = create_epochs({"train_loss": 0.5, "objective": float("nan")}, ended_ms=ended_ms)
        run = upload_content(tracking, key="ab" * 32, epochs=content, files=files)
    client = open_client(server.address)
    run_data = client.get_run(run.run_id)
    assert (run.num_points, run.num_folders) == (0, 0)
    assert (run_data.info.status, run_data.data.metrics) == ("FINISHED", {"train_loss": 0.5})
    assert [point.timestamp for point in client.get_metric_history(run.run_id, "train_loss")] == [1]
    assert [item.path for item in client.list_artifacts(run.run_id, "tests")] == ["tests/test_ui.py"]


def test_serve_with_a_server_address_only_prints_the_link(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address + "/")
    assert serve(Tracking(uri=None, experiment="learning-report"), ServerAddress(LOOPBACK, 1)) == 0
    assert server.link in capsys.readouterr().out
    with pytest.raises(PipelineError, match=r"no experiment 'other'.*make report"):
        serve(Tracking(uri=None, experiment="other"), ServerAddress(LOOPBACK, 1))


def test_server_listens_on_loopback_only_and_prints_no_warning(server: Server) -> None:
    """A public server is tested in test_moved_store.py, because a second one takes ten seconds to start."""
    assert "without a password" not in server.output
    with socket.socket() as probe:
        assert probe.connect_ex((OTHER_LOOPBACK, server.port)) != 0


def test_all_server_processes_end_with_the_command(server: Server) -> None:
    # Must be the last test that uses the server.
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(timeout=30) == 0
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")] if Path("/proc").exists() else []
    assert not [command for command in commands if str(server.port).encode() in command.split(b"\0")]
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", server.port)) != 0


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (ServerAddress("example.org", 5000), r"--host must be an IP address such as 127\.0\.0\.1, not 'example\.org'"),
        (ServerAddress("192.0.2.1", 5000), r"This machine has no address 192\.0\.2\.1"),  # reserved by RFC 5737
    ],
)
def test_invalid_host_is_named(address: ServerAddress, message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        address.check()


@pytest.mark.parametrize(
    ("host", "is_private", "url"),
    [
        ("127.0.0.1", True, "http://127.0.0.1:5000"),
        ("0.0.0.0", False, "http://127.0.0.1:5000"),
        ("::1", True, "http://[::1]:5000"),
        ("::", False, "http://[::1]:5000"),
        ("192.168.1.7", False, "http://192.168.1.7:5000"),
    ],
)
def test_url_is_one_that_a_browser_can_open(host: str, is_private: bool, url: str) -> None:
    address = ServerAddress(host, 5000)
    assert (address.is_private, address.url) == (is_private, url)


def test_used_port_is_named(project: Path, tracking: Tracking, upload: Upload) -> None:
    upload()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(PipelineError, match=rf"Port {port} on 127.0.0.1 is used by another program.*--port \d+"):
            serve(tracking, ServerAddress(LOOPBACK, port))


def test_serve_before_the_first_training_is_an_error(bare_project: Path, tracking: Tracking) -> None:
    with pytest.raises(PipelineError, match=r"no experiment .*make report"):
        serve(tracking, ServerAddress(LOOPBACK, _find_free_port()))
    assert list(bare_project.iterdir()) == []


def test_unreachable_server_is_named(tracking: Tracking, closed_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{closed_port}")
    with pytest.raises(PipelineError, match=rf"MLflow at http://127.0.0.1:{closed_port} does not answer") as error:
        prepare_view(tracking)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("port", [2049, 6000, 6667, 10080])
def test_blocked_port_is_refused_with_a_suggestion(port: int) -> None:
    with pytest.raises(PipelineError, match=rf"Port {port} .* blocked by browsers") as error:
        ServerAddress(LOOPBACK, port).check()
    suggested = int(str(error.value).rpartition("--port ")[2])
    assert suggested not in BLOCKED_PORTS
    ServerAddress(LOOPBACK, suggested).check()
