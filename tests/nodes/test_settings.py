"""The settings page: what an artist chooses there is heeded on the server and by new nodes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import comfyui_checkouts
import comfyui_page
import pytest
from comfyui_server import PACK, Failed, Server

from rational_rewards.models.images import MAX_PIXELS
from rational_rewards.models.user_settings import FILE, UserSettings, read_user_settings

LOADER = "RationalRewardsLoadCritic"


def write(folder: Path, text: str) -> Path:
    (folder / FILE).parent.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_text(text, encoding="utf-8")
    return folder


def test_settings_are_read_from_comfyui_s_file(tmp_path: Path) -> None:
    assert read_user_settings(tmp_path) == UserSettings("", False)
    found = {
        "RationalRewards.ModelFolder": " /disk/\0critics ",
        "RationalRewards.Offline": True,
        "Comfy.Locale": "ja",
    }
    assert read_user_settings(write(tmp_path, json.dumps(found))) == UserSettings("/disk/critics", True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"RationalRewards.Offline": tr',
        '{"RationalRewards.ModelFolder": 5, "RationalRewards.Offline": "x"}',
    ],
)
def test_a_damaged_file_changes_nothing(tmp_path: Path, text: str) -> None:
    assert read_user_settings(write(tmp_path, text)) == UserSettings()


def test_the_chosen_folder_comes_first_and_only_once(tmp_path: Path) -> None:
    models, usual = (
        tmp_path / "models",
        [tmp_path / "models" / "rationalrewards", tmp_path / "models" / "LLM"],
    )
    assert UserSettings().roots(models, usual) == usual
    assert UserSettings(str(tmp_path / "disk")).roots(models, usual) == [tmp_path / "disk", *usual]
    assert UserSettings("critics").roots(models, usual) == [models / "critics", *usual]
    assert UserSettings("LLM").roots(models, usual) == [usual[1], usual[0]]
    assert (
        UserSettings("~no-such-user/critics").roots(models, usual)[0] == models / "~no-such-user" / "critics"
    )
    assert UserSettings("~/critics").roots(models, usual)[0] == Path.home() / "critics"


@pytest.fixture(
    scope="module",
    params=comfyui_checkouts.checkouts(),
    ids=lambda path: f"ComfyUI-{comfyui_checkouts.version(path)}",
)
def server(request, tmp_path_factory):
    """A running ComfyUI that may go online."""
    online = {"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "0", "RATIONAL_REWARDS_OFFLINE": "0"}
    running = Server(request.param, tmp_path_factory.mktemp("settings") / "comfyui", environment=online)
    yield running
    running.stop()


def choices(server: Server) -> list[str]:
    """The checkpoints that Load Critic lists."""
    options = server.get("/object_info")[LOADER]["input"]["required"]["checkpoint"]
    return options[0] if isinstance(options[0], list) else options[1]["options"]


@pytest.mark.comfyui
@pytest.mark.skipif(not comfyui_checkouts.checkouts(), reason=comfyui_checkouts.HINT)
def test_the_server_heeds_them_without_a_restart(server: Server, tmp_path: Path) -> None:
    shutil.copytree(PACK / "demo" / "critic", tmp_path / "mine")
    assert "mine" not in choices(server)
    server.post(
        "/api/settings", {"RationalRewards.ModelFolder": str(tmp_path), "RationalRewards.Offline": True}
    )
    listed = choices(server)
    assert listed[0] == "mine"
    official = next(name for name in listed if "RationalRewards-8B-T2I" in name)
    with pytest.raises(Failed) as caught:
        server.run(
            {
                "load": {"class_type": LOADER, "inputs": {"checkpoint": official, "quantization": "none"}},
                "see": {"class_type": "PreviewAny", "inputs": {"source": ["load", 0]}},
            }
        )
    assert caught.value.node == "load"
    assert "Settings > RationalRewards > Stay offline is on" in str(caught.value)
    assert str(tmp_path / "RationalRewards-8B-T2I") in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"], "nothing half-done stays behind"
    server.post("/api/settings", {"RationalRewards.ModelFolder": "", "RationalRewards.Offline": False})
    assert "mine" not in choices(server)


@pytest.mark.comfyui
@pytest.mark.skipif(not comfyui_checkouts.checkouts(), reason=comfyui_checkouts.HINT)
@pytest.mark.skipif(not comfyui_page.AVAILABLE, reason=comfyui_page.HINT)
@pytest.mark.parametrize("nodes_2", [False, True], ids=["classic", "nodes-2"])
def test_a_new_node_takes_the_chosen_size_and_a_workflow_keeps_its_own(server: Server, nodes_2: bool) -> None:
    def size() -> int:
        return next(
            w["value"] for node in canvas.nodes() for w in node["widgets"] if w["name"] == "max_pixels"
        )

    with comfyui_page.canvas(server, 1600, 1000) as canvas:
        canvas.open(nodes_2=nodes_2)
        asked = {"Load": {"type": LOADER, "values": {}, "at": [0, 0], "links": {}}}
        canvas.build(asked)
        assert size() == MAX_PIXELS
        saved = canvas.serialize()
        canvas.choose("RationalRewards.MaxPixels", 448**2)
        canvas.build(asked)
        assert size() == 448**2
        canvas.load(saved)
        assert size() == MAX_PIXELS
        canvas.page.evaluate("() => { app.extensionManager.command.execute('Comfy.ShowSettingsDialog') }")
        canvas.page.get_by_text("RationalRewards", exact=True).first.click()
        for text in (
            "Critique on the nodes",
            "Largest image that is judged",
            "Model folder",
            "Stay offline",
        ):
            canvas.page.get_by_text(text, exact=True).first.wait_for(timeout=10_000)
        canvas.page.wait_for_timeout(500)
        canvas.page.screenshot(
            path=comfyui_page.artifact(server, f"settings-{'nodes-2' if nodes_2 else 'classic'}")
        )
        assert canvas.errors == []
        canvas.choose("RationalRewards.MaxPixels", MAX_PIXELS)
