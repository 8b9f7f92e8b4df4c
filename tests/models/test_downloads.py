"""Downloads, from a real HTTP server on this computer that answers as the hub does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_server import T2I, Hub

from rational_rewards.models.checkpoints import downloads
from rational_rewards.models.checkpoints.discovery import (
    Official,
    choices,
    find_checkpoints,
    resolve,
)
from rational_rewards.models.checkpoints.downloads import download, plan_download
from rational_rewards.models.checkpoints.inspection import MARKER, RECORD
from rational_rewards.models.errors import CheckpointError, DownloadError

FOREIGN = {
    "README.md": b"# Card",
    "pytorch_model.bin": b"pickle",
    "modeling.py": b"import os",
    "extra/x.json": b"{}",
}


@pytest.fixture
def hub(checkpoint_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that has a tiny checkpoint, and next to it what must never be fetched."""
    for variable in (*downloads.OFFLINE, "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(downloads, "PAUSE", 0.0)
    files = {file.name: file.read_bytes() for file in checkpoint_folder().iterdir()}
    made = Hub(files | FOREIGN)
    yield made
    made.server.shutdown()
    made.server.server_close()


def wanted(hub: Hub) -> dict[str, bytes]:
    return {name: data for name, data in hub.files.items() if name not in FOREIGN}


def test_the_plan_tells_what_will_happen(hub: Hub, tmp_path: Path) -> None:
    plan = plan_download(T2I, tmp_path / "LLM", hub.endpoint)
    assert {file.name: file.size for file in plan.files} == {
        name: len(data) for name, data in wanted(hub).items()
    }
    assert plan.bytes == plan.missing == sum(map(len, wanted(hub).values()))
    assert (plan.target, plan.revision) == (tmp_path / "LLM" / "RationalRewards-8B-T2I", hub.revision)
    assert f"to download into {plan.target}, where" in str(plan)
    # Nothing was written.
    assert list(tmp_path.iterdir()) == []
    assert hub.fetched() == []


def test_a_download_brings_a_checkpoint_that_loads(
    hub: Hub, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from rational_rewards.models.checkpoints.loading import load

    caplog.set_level("INFO", "rational_rewards")
    progress: list[tuple[int, int]] = []
    folder = download(T2I, tmp_path, lambda done, total: progress.append((done, total)), None, hub.endpoint)
    assert {file.name: file.read_bytes() for file in folder.iterdir() if file.name != RECORD} == wanted(hub)
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    assert (record["repo"], record["revision"]) == (T2I.repo, hub.revision)
    assert {name: entry["size"] for name, entry in record["files"].items()} == {
        n: len(d) for n, d in wanted(hub).items()
    }

    assert f"to download into {folder}, where" in caplog.text
    total = sum(map(len, wanted(hub).values()))
    assert progress[-1] == (total, total)
    assert progress == sorted(progress)
    assert [checkpoint.name for checkpoint in find_checkpoints([tmp_path])] == ["RationalRewards-8B-T2I"]
    assert resolve(T2I.repo, [tmp_path]).name == "RationalRewards-8B-T2I"
    assert load(folder, "none", dtype=torch.float32).quantization == "none (fp32)"


def test_the_hub_learns_nothing_but_which_files_are_wanted(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    download(T2I, tmp_path, None, None, hub.endpoint)
    for _, _, headers in hub.requests:
        assert headers["user-agent"] == "rational-rewards"
        assert "authorization" not in headers
        assert "cookie" not in headers
    assert not set(hub.fetched()) & {name.rpartition("/")[2] for name in FOREIGN}


def test_once_downloaded_the_hub_is_not_asked_again(hub: Hub, tmp_path: Path) -> None:
    folder = download(T2I, tmp_path, None, None, hub.endpoint)
    asked = len(hub.requests)
    assert download(T2I, tmp_path, None, None, hub.endpoint) == folder
    assert len(hub.requests) == asked


def test_a_line_that_breaks_is_taken_up_where_it_broke(hub: Hub, tmp_path: Path) -> None:
    hub.cut = [500_000, 400_000]
    folder = download(T2I, tmp_path, None, None, hub.endpoint)
    ranges = hub.ranges()
    assert len(ranges) == 3
    starts = [int(value.removeprefix("bytes=").rstrip("-")) for value in ranges[1:] if value]
    assert 0 < starts[0] <= 500_000
    assert starts[0] < starts[1] <= 900_000
    assert (folder / "model.safetensors").read_bytes() == hub.files["model.safetensors"]


def test_a_line_that_stays_broken_keeps_what_came(hub: Hub, tmp_path: Path) -> None:
    hub.cut = [600_000] + [0] * 10
    with pytest.raises(
        DownloadError, match="what came is kept: start it again to go on, or fetch it on any computer"
    ) as caught:
        download(T2I, tmp_path, None, None, hub.endpoint)
    target = tmp_path / "RationalRewards-8B-T2I"
    kept = (target / "model.safetensors.part").stat().st_size
    assert 0 < kept <= 600_000
    assert len(hub.ranges()) == downloads.ATTEMPTS
    assert str(target) in str(caught.value)

    assert find_checkpoints([tmp_path]) == []
    assert T2I.repo in choices([tmp_path])
    assert resolve(T2I.repo, [tmp_path]) is T2I

    hub.cut, hub.requests = [], []
    plan = plan_download(T2I, tmp_path, hub.endpoint)
    assert plan.missing == len(hub.files["model.safetensors"]) - kept
    download(T2I, tmp_path, None, None, hub.endpoint)
    assert hub.fetched() == ["model.safetensors"]
    assert hub.ranges() == [f"bytes={kept}-"]
    assert sorted(file.name for file in target.iterdir()) == sorted([*wanted(hub), RECORD])


def test_a_killed_download_goes_on(hub: Hub, tmp_path: Path) -> None:
    code = (
        "import os, sys; from rational_rewards.models.checkpoints.downloads import *\n"
        "def progress(done, total):\n"
        "    if done > total // 2: os._exit(7)\n"
        f"download(OFFICIAL[0], {str(tmp_path)!r}, progress, None, {hub.endpoint!r})"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 7
    assert find_checkpoints([tmp_path]) == []
    hub.requests.clear()
    folder = download(T2I, tmp_path, None, None, hub.endpoint)
    assert hub.fetched() == ["model.safetensors"]
    assert (folder / "model.safetensors").read_bytes() == hub.files["model.safetensors"]


def test_cancel_stops_at_once_and_keeps_what_came(hub: Hub, tmp_path: Path) -> None:
    class Cancelled(Exception):
        pass

    seen: list[int] = []

    def check() -> None:
        if seen and seen[-1] > 700_000:
            raise Cancelled

    with pytest.raises(Cancelled):
        download(T2I, tmp_path, lambda done, total: seen.append(done), check, hub.endpoint)
    total = sum(map(len, wanted(hub).values()))
    assert seen[-1] < 700_000 + 2 * downloads.CHUNK < total
    hub.requests.clear()
    seen.clear()
    download(T2I, tmp_path, lambda done, total: seen.append(done), None, hub.endpoint)
    assert seen[-1] == total
    assert hub.ranges()[0] is not None


def test_cancel_works_while_waiting_for_the_line(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "PAUSE", 60.0)
    hub.cut = [0] * 10
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if hub.ranges():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(T2I, tmp_path, None, check, hub.endpoint)


def test_a_server_that_cannot_resume_sends_all_of_it(hub: Hub, tmp_path: Path) -> None:
    hub.resumes, hub.cut = False, [500_000]
    folder = download(T2I, tmp_path, None, None, hub.endpoint)
    assert (folder / "model.safetensors").read_bytes() == hub.files["model.safetensors"]


def test_a_download_goes_on_at_the_revision_it_began_with(hub: Hub, tmp_path: Path) -> None:
    hub.cut = [600_000] + [0] * 10
    with pytest.raises(DownloadError):
        download(T2I, tmp_path, None, None, hub.endpoint)
    hub.requests.clear()
    assert plan_download(T2I, tmp_path, hub.endpoint).revision == "a" * 40
    assert [path for _, path, _ in hub.requests] == [f"/api/models/{T2I.repo}/revision/{'a' * 40}"]

    # The repository was rewritten: the old revision is gone.
    hub.revision, hub.cut = "b" * 40, []
    hub.known = {"main", "b" * 40}
    hub.files["model.safetensors"] = hub.files["model.safetensors"][:-1] + b"x"
    folder = download(T2I, tmp_path, None, None, hub.endpoint)
    assert json.loads((folder / RECORD).read_text(encoding="utf-8"))["revision"] == "b" * 40
    assert (folder / "model.safetensors").read_bytes() == hub.files["model.safetensors"]


def test_files_that_arrive_damaged_are_not_kept(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = hub.listing()
    monkeypatch.setattr(hub, "listing", lambda: listing)
    hub.files["model.safetensors"] = hub.files["model.safetensors"][:-1] + b"x"
    with pytest.raises(
        DownloadError, match=r"model\.safetensors of TIGER-Lab/RationalRewards-8B-T2I arrived damaged"
    ):
        download(T2I, tmp_path, None, None, hub.endpoint)
    assert not list(tmp_path.glob("*/model.safetensors*"))
    assert find_checkpoints([tmp_path]) == []


def test_files_changed_after_the_download_are_named_and_mended(hub: Hub, tmp_path: Path) -> None:
    folder = download(T2I, tmp_path, None, None, hub.endpoint)
    template = folder / "chat_template.jinja"
    template.write_bytes(template.read_bytes()[:-1] + b"?")
    with pytest.raises(CheckpointError, match=r"chat_template\.jinja has changed since it was downloaded"):
        resolve(T2I.repo, [tmp_path])
    hub.requests.clear()
    download(T2I, tmp_path, None, None, hub.endpoint)
    assert hub.fetched() == ["chat_template.jinja"]
    assert resolve(T2I.repo, [tmp_path]).folder == folder


@pytest.mark.parametrize(("status", "attempts"), [(404, 1), (403, 1), (429, 5), (503, 5)])
def test_a_server_that_refuses(hub: Hub, tmp_path: Path, status: int, attempts: int) -> None:
    hub.status = status
    with pytest.raises(DownloadError, match=rf"model\.safetensors: the server answered {status}"):
        download(T2I, tmp_path, None, None, hub.endpoint)
    assert len(hub.ranges()) == attempts


@pytest.mark.parametrize("variable", downloads.OFFLINE)
def test_offline_says_how_to_get_the_files_by_hand(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "True")
    with pytest.raises(DownloadError) as caught:
        download(T2I, tmp_path, None, None, hub.endpoint)
    assert str(caught.value) == (
        f"TIGER-Lab/RationalRewards-8B-T2I could not be downloaded ({variable} is set): fetch it on any "
        f"computer with "
        '"hf download TIGER-Lab/RationalRewards-8B-T2I --local-dir RationalRewards-8B-T2I" and put the '
        "files into "
        f"{tmp_path / 'RationalRewards-8B-T2I'}."
    )
    assert hub.requests == []
    monkeypatch.setenv(variable, "0")
    assert plan_download(T2I, tmp_path, hub.endpoint).missing > 0


def test_the_setting_forbids_it_too(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="Stay offline is on"):
        download(T2I, tmp_path, endpoint=hub.endpoint, offline=True)
    with pytest.raises(DownloadError, match="Stay offline is on"):
        plan_download(T2I, tmp_path, hub.endpoint, offline=True)
    assert hub.requests == []


def test_no_connection_says_the_same(tmp_path: Path, hub: Hub) -> None:
    with pytest.raises(DownloadError, match=r"could not be downloaded \(.*\): fetch it on any computer with"):
        download(T2I, tmp_path, None, None, "http://127.0.0.1:9")
    assert list(tmp_path.iterdir()) == []


def test_only_official_checkpoints_are_downloaded(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="someone/critic is not an official checkpoint"):
        download(Official("someone/critic"), tmp_path, None, None, hub.endpoint)
    assert hub.requests == []


def test_no_room_is_said_before_anything_is_written(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=50_000_000))
    with pytest.raises(DownloadError, match=r"needs 0\.1 GB in .*, where 0\.1 GB are free: make room"):
        download(T2I, tmp_path, None, None, hub.endpoint)
    assert list(tmp_path.iterdir()) == []
    assert hub.fetched() == []


def test_a_disk_that_fills_up_keeps_what_came(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Any, target: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(DownloadError, match=r"the disk is full.*; what came is kept"):
        download(T2I, tmp_path, None, None, hub.endpoint)


def test_a_folder_with_another_checkpoint_is_left_alone(
    hub: Hub, tmp_path: Path, checkpoint_folder: Callable[..., Path]
) -> None:
    folder = Path(shutil.copytree(checkpoint_folder(seed=1), tmp_path / "RationalRewards-8B-T2I"))
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(DownloadError, match="holds a checkpoint already"):
        download(T2I, tmp_path, None, None, hub.endpoint)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_files_put_there_by_hand_are_used_if_they_are_right(hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "RationalRewards-8B-T2I"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(hub.files["model.safetensors"])
    (folder / "tokenizer.json").write_bytes(b"x" * len(hub.files["tokenizer.json"]))
    download(T2I, tmp_path, None, None, hub.endpoint)
    assert "model.safetensors" not in hub.fetched()
    assert (folder / "tokenizer.json").read_bytes() == hub.files["tokenizer.json"]


def test_a_list_without_the_configuration_is_refused(hub: Hub, tmp_path: Path) -> None:
    del hub.files["config.json"]
    with pytest.raises(DownloadError, match="list of files is not complete"):
        download(T2I, tmp_path, None, None, hub.endpoint)


def test_the_marker_of_another_repository_is_not_gone_on_with(hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "RationalRewards-8B-T2I"
    folder.mkdir()
    (folder / MARKER).write_text('{"repo": "other/repo", "revision": "c", "files": {}}', encoding="utf-8")
    assert plan_download(T2I, tmp_path, hub.endpoint).revision == hub.revision
