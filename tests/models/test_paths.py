"""Where the command line looks for what is the user's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from rational_rewards.models import paths


@pytest.fixture
def comfyui(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> paths.ComfyUIFolders:
    """A ComfyUI that has loaded the pack."""
    monkeypatch.delenv(paths.HOME_VARIABLE, raising=False)
    monkeypatch.setenv(paths.RECORD_VARIABLE, str(tmp_path / "comfyui.json"))
    (tmp_path / "user").mkdir()
    models = tmp_path / "models"
    folders = paths.ComfyUIFolders(tmp_path / "user", models, (models / "rationalrewards", models / "LLM"))
    paths.record_comfyui(folders)
    return folders


def test_everything_is_where_comfyui_has_it(comfyui: paths.ComfyUIFolders) -> None:
    assert paths.model_roots() == list(comfyui.roots)
    assert paths.preferences_root() == comfyui.user / "rational_rewards" / "preferences"


def test_a_home_of_ones_own_moves_preferences_rubrics_and_adapters(
    comfyui: paths.ComfyUIFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv(paths.HOME_VARIABLE, str(home))
    assert paths.preferences_root() == home / "preferences"
    assert paths.rubric_folders() == [home / "rubrics"]
    # The first is where new ones are put; what ComfyUI has need not be downloaded again.
    own = [home / "models" / "rationalrewards", home / "models" / "LLM"]
    assert paths.model_roots() == [*own, *comfyui.roots]


def test_without_a_comfyui_a_home_of_ones_own_has_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(paths.RECORD_VARIABLE, str(tmp_path / "none.json"))
    monkeypatch.setattr(paths, "PACK", tmp_path)
    monkeypatch.setenv(paths.HOME_VARIABLE, str(tmp_path))
    assert paths.model_roots()[0] == tmp_path / "models" / "rationalrewards"


def test_the_documentation_names_the_variable() -> None:
    assert f"`{paths.HOME_VARIABLE}`" in (paths.PACK / "docs" / "command-line.md").read_text("utf-8")
