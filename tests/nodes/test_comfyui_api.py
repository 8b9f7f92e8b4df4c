"""What the pack uses of ComfyUI is there, in every checkout the tests run on, and a loss of it is noticed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from check_comfyui_api import check, main
from comfyui_checkouts import HINT, checkouts

pytestmark = [pytest.mark.comfyui, pytest.mark.skipif(not checkouts(), reason=HINT)]


@pytest.mark.parametrize("checkout", checkouts(), ids=str)
def test_everything_that_is_used_is_there(checkout: Path) -> None:
    findings = check(checkout)
    assert len(findings) > 30
    assert not [finding for finding in findings if finding.problem]


@pytest.mark.parametrize(
    ("file", "before", "after", "says"),
    [
        ("folder_paths.py", "def get_save_image_path", "def save_image_path", "has no get_save_image_path"),
        (
            "server.py",
            "def send_sync(self, event, data, sid",
            "def send_sync(self, event, data, who",
            "no sid",
        ),
        ("comfy/model_patcher.py", "def detach(", "def put_away(", "there is no detach"),
        ("comfy_api/latest/_ui.py", "class PreviewImage(", "class ImagePreview(", "has no PreviewImage"),
        ("comfy_api/latest/_io.py", "    dynprompt = ", "    graph = ", "Hidden has no dynprompt"),
    ],
)
def test_a_name_that_is_gone_is_reported(
    tmp_path: Path, file: str, before: str, after: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    checkout = tmp_path / "ComfyUI"
    ignore = shutil.ignore_patterns(".git", "models", "web", "input", "output", "*.safetensors", "*.json")
    shutil.copytree(checkouts()[0], checkout, ignore=ignore)
    text = (checkout / file).read_text(encoding="utf-8")
    assert before in text
    (checkout / file).write_text(text.replace(before, after), encoding="utf-8")
    assert main([str(checkout)]) == 1
    assert says in capsys.readouterr().out
