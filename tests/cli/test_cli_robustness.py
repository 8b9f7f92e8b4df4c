"""The command line as people use it: other consoles, other folders, bad images among good ones.

Finished work is never lost.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from rational_rewards.cli.inputs import expand, prompt_for
from rational_rewards.cli.main import build_parser, main
from rational_rewards.cli.output import in_shell_words
from rational_rewards.models.errors import QuestionError
from rational_rewards.models.files import user_path

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., int]


@pytest.fixture
def run(checkpoint_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run("score", "a.png", ...)` in a folder with images a, b and c, with the tiny critic unquantized."""
    for name, colour in zip("abc", ("teal", "gold", "navy"), strict=True):
        Image.new("RGB", (64, 64), colour).save(tmp_path / f"{name}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RATIONAL_REWARDS_HOME", str(tmp_path / "home"))
    critic = ["--checkpoint", str(checkpoint_folder()), "--device", "cpu", "--quantization", "none"]
    small = ["--max-new-tokens", "64", "--max-pixels", "4096"]

    def run(command: str, *arguments: str, prompt: str | None = "a square") -> int:
        asked = ["--prompt", prompt] if prompt is not None else []
        return main([command, *arguments, *asked, *critic, *small])

    return run


def no_critic(*_: object, **__: object) -> None:
    raise AssertionError("the critic was loaded before the options were checked")


# Where results go


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--card", "card.txt"], "card.txt must end in .png or .jpg or .jpeg or .webp"),
        (["--card", "card"], "card must end in"),
        (["--json", "."], "is a folder: name a file in it"),
        (["--json", "out/"], "is a folder: name a file in it"),
        (["--json", "a.png/report.json"], "cannot be written"),
    ],
)
def test_targets_are_checked_before_anything_is_judged(
    run: Run,
    options: list[str],
    says: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rational_rewards.cli.judge.load_critic", no_critic)
    assert run("critique", "a.png", *options) == 1
    assert says in capsys.readouterr().err


def test_folders_for_results_are_made(run: Run, tmp_path: Path) -> None:
    assert run("critique", "a.png", "--json", "new/folder/report.json", "--card", "cards/mine/card.jpg") == 0
    assert (
        json.loads((tmp_path / "new" / "folder" / "report.json").read_text())["images"][0]["image"] == "a.png"
    )
    assert Image.open(tmp_path / "cards" / "mine" / "card.jpg").width >= 512


def test_a_report_is_printed_before_a_late_error(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rational_rewards.cli.output.write_text", full)
    assert run("score", "a.png", "--json", "scores.json") == 1
    printed = capsys.readouterr()
    assert "a.png" in printed.out
    assert "scores.json could not be written (No space left on device)" in printed.err


# Consoles


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_console_that_cannot_print_a_character_prints_the_rest(
    run: Run, tmp_path: Path, encoding: str
) -> None:
    (tmp_path / "a.png").rename(tmp_path / "狐.png")
    code = "import sys; from rational_rewards.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "score", "狐.png", "--prompt", "a fox 🦊", "--json", "scores.json"]
    checkpoint = ["--checkpoint", "shapes demo (CPU)", "--max-new-tokens", "64"]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    result = subprocess.run([*command, *checkpoint], env=environment, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr.decode(errors="replace")
    assert b"?.png" in result.stdout
    data = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    assert data["images"][0]["image"] == "狐.png"


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are Unicode there")
def test_a_file_name_that_is_no_utf8_is_judged(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    (tmp_path / "a.png").rename(tmp_path / name)
    assert run("critique", name, "--json", "report.json") == 0
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["images"][0]["complete"]


def test_half_an_emoji_in_a_prompt_is_judged_and_written(run: Run, tmp_path: Path) -> None:
    assert run("critique", "a.png", "--json", "report.json", "--refine", prompt="a fox \ud83e") == 0
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["images"][0]["complete"]


def test_a_reader_that_leaves_early_is_no_traceback(tmp_path: Path) -> None:
    code = "import sys; from rational_rewards.cli.main import main; sys.exit(main(['checkpoints']))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert b"Traceback" not in process.stderr.read()
    assert process.wait() == 1


# Which images


def test_patterns_folders_and_pasted_paths_are_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("x10.png", "x2.png", "x[1].png", "notes.txt", "sub.jpg"):
        (tmp_path / name).touch()
    assert expand(["x*.png"]) == ["x2.png", "x10.png", "x[1].png"]
    assert expand(["x[1].png"]) == ["x[1].png"], "a file of that name is that file"
    assert expand(["x*.png", "x2.png"]) == ["x2.png", "x10.png", "x[1].png"], "each image once"
    assert [Path(image).name for image in expand([str(tmp_path)])] == [
        "sub.jpg",
        "x2.png",
        "x10.png",
        "x[1].png",
    ]
    assert expand([f'"{tmp_path / "x2.png"}" ']) == [str(tmp_path / "x2.png")]
    with pytest.raises(QuestionError, match=r"No file matches y\*\.png"):
        expand(["y*.png"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(QuestionError, match="no image in the folder"):
        expand(["empty"])


@pytest.mark.parametrize(
    "pasted", ["{path}", '"{path}"', "'{path}'", "  {path}  ", "file://{path}", "file://localhost{path}"]
)
def test_a_path_is_read_as_people_paste_it(pasted: str, tmp_path: Path) -> None:
    path = tmp_path / "my images"
    quoted = str(path).replace(" ", "%20") if pasted.startswith("file") else str(path)
    assert user_path(pasted.format(path=quoted)) == path
    assert user_path("~/images") == Path.home() / "images"


def test_one_bad_image_costs_only_itself(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "b.png").write_bytes(b"not an image")
    for command in ("score", "critique"):
        assert run(command, "a.png", "b.png", "c.png", "missing.png", "--json", "report.json") == 1
        printed = capsys.readouterr()
        assert "The image b.png cannot be read" in printed.err
        assert "There is no image missing.png" in printed.err
        entries = json.loads((tmp_path / "report.json").read_text())["images"]
        assert [entry["image"] for entry in entries] == ["a.png", "c.png", "b.png", "missing.png"]
        assert [bool(entry.get("error")) for entry in entries] == [False, False, True, True]


# Prompts in metadata


def graph(text: str) -> str:
    return json.dumps(
        {
            "3": {"class_type": "KSampler", "inputs": {"positive": ["10", 0], "negative": ["7", 0]}},
            "10": {"class_type": "ControlNetApply", "inputs": {"conditioning": ["6", 0]}},
            "6": {"class_type": "CLIPTextEncode", "inputs": {"text": ["20", 0]}},
            "20": {"class_type": "PrimitiveString", "inputs": {"value": text}},
            "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry"}},
        }
    )


TOLD = {
    "prompt": graph("a red fox"),
    "parameters": "a red fox\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, Seed: 1",
    "parameters ": "a red fox\nSteps: 20, Sampler: Euler a, Seed: 1",
    "rational_rewards": json.dumps({"prompt": "a red fox", "score": 0.5}),
}
# Only PNGs hold what Save with Scores writes.
PLACES = [
    (key, ending) for key in TOLD for ending in ("png", "webp", "jpg") if "_" not in key or ending == "png"
]


@pytest.mark.parametrize(("key", "ending"), PLACES)
def test_a_prompt_is_read_from_the_image(tmp_path: Path, key: str, ending: str) -> None:
    image, path, text = Image.new("RGB", (8, 8)), tmp_path / f"image.{ending}", TOLD[key]
    if ending == "png":
        info = PngInfo()
        info.add_text(key.strip(), text)
        image.save(path, pnginfo=info)
    else:
        exif = image.getexif()
        if key == "prompt":
            exif[0x0110] = f"prompt:{text}"
        else:
            exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + text.encode("utf-16-be")
        image.save(path, exif=exif)
    assert prompt_for(str(path), None) == "a red fox"
    assert prompt_for(str(path), "mine") == "mine", "what is given comes first"


def test_a_text_beside_the_image_is_its_prompt(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "image.png")
    (tmp_path / "image.txt").write_text("a red fox\n")
    assert prompt_for(str(tmp_path / "image.png"), None) == "a red fox"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"3": 4}', '{"3": {"inputs": {"positive": ["3", 0]}}}'])
def test_an_image_that_does_not_say_it_needs_the_option(tmp_path: Path, text: str) -> None:
    info = PngInfo()
    info.add_text("prompt", text)
    Image.new("RGB", (8, 8)).save(tmp_path / "image.png", pnginfo=info)
    with pytest.raises(QuestionError, match="add --prompt"):
        prompt_for(str(tmp_path / "image.png"), None)


def test_two_samplers_with_other_prompts_are_not_guessed_between(tmp_path: Path) -> None:
    both = {
        **json.loads(graph("a red fox")),
        "30": {"inputs": {"positive": ["31", 0]}},
        "31": {"inputs": {"text": "a cat"}},
    }
    info = PngInfo()
    info.add_text("prompt", json.dumps(both))
    Image.new("RGB", (8, 8)).save(tmp_path / "image.png", pnginfo=info)
    with pytest.raises(QuestionError, match="add --prompt"):
        prompt_for(str(tmp_path / "image.png"), None)


def test_a_folder_is_scored_by_the_prompts_in_its_images(run: Run, tmp_path: Path) -> None:
    for name, prompt in (("a", "a teal square"), ("b", "a gold square"), ("c", "a navy square")):
        info = PngInfo()
        info.add_text("prompt", graph(prompt))
        Image.open(tmp_path / f"{name}.png").save(tmp_path / f"{name}.png", pnginfo=info)
    assert run("score", ".", "--json", "scores.json", prompt=None) == 0
    entries = json.loads((tmp_path / "scores.json").read_text())["images"]
    assert [entry["prompt"] for entry in entries] == ["a teal square", "a gold square", "a navy square"]


# Options and words


def parsers() -> list[object]:
    found = [build_parser()]
    for parser in found:
        for action in parser._actions:
            choices = getattr(action, "choices", None)
            if isinstance(choices, dict):
                found += choices.values()
    return found


def test_every_option_says_what_it_does() -> None:
    for parser in parsers():
        for action in parser._actions:  # type: ignore[attr-defined]
            assert action.help or action.nargs == "A...", f"{parser.prog} {action.dest}"  # type: ignore[attr-defined]


def test_the_version_is_that_of_the_project(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    version = capsys.readouterr().out.split()[1]
    assert f'version = "{version}"' in (ROOT / "pyproject.toml").read_text()


def test_without_a_checkpoint_the_shell_says_what_there_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RATIONAL_REWARDS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RATIONAL_REWARDS_RECORD", str(tmp_path / "none.json"))
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert main(["score", str(tmp_path / "a.png"), "--prompt", "x"]) == 1
    said = capsys.readouterr().err
    assert "TIGER-Lab/RationalRewards-8B-T2I" in said
    assert '"shapes demo (CPU)" to try it' in said


def test_a_download_needs_a_yes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RATIONAL_REWARDS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RATIONAL_REWARDS_RECORD", str(tmp_path / "none.json"))
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "RATIONAL_REWARDS_OFFLINE"):
        monkeypatch.delenv(variable, raising=False)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    monkeypatch.setattr("sys.stdin", open(os.devnull))
    assert (
        main(
            [
                "score",
                str(tmp_path / "a.png"),
                "--prompt",
                "x",
                "--checkpoint",
                "TIGER-Lab/RationalRewards-8B-T2I",
            ]
        )
        == 1
    )
    assert "17.5 GB would be downloaded" in (said := capsys.readouterr().err)
    assert "Add --yes to start the download." in said


@pytest.mark.parametrize(
    "command",
    [["parrot", "undo"], ["parrot", "export", "x.parquet"], ["parrot", "rationalize"], ["evaluate"]],
)
def test_a_dataset_that_does_not_exist_is_named(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RATIONAL_REWARDS_HOME", str(tmp_path))
    folder = tmp_path / "preferences" / "my-taste"
    folder.mkdir(parents=True)
    (folder / "preferences.jsonl").touch()
    assert main([*command, "--dataset", "my-tatse"]) == 1
    assert 'There is no dataset "my-tatse": did you mean my-taste?' in capsys.readouterr().err


CANVAS = (
    "on Load Critic",
    "on Score",
    "Queue again",
    "source_image",
    "max_pixels",
    "max_new_tokens",
    "quantization =",
)


def sentences() -> list[str]:
    """Every literal text in a `raise` below the nodes."""
    texts = []
    for room in ("models", "preferences", "parrot", "training", "evaluation"):
        for file in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Raise) and node.exc is not None:
                    parts = [n.value for n in ast.walk(node.exc) if isinstance(n, ast.Constant)]
                    texts.append("".join(part for part in parts if isinstance(part, str)))
    return texts


def test_errors_in_the_shell_speak_of_its_options() -> None:
    assert any("on Load Critic" in text for text in sentences()), "or this test looks at nothing"
    for text in sentences():
        shell = in_shell_words(text)
        plain = shell.replace("--max-pixels", "").replace("--max-new-tokens", "")
        assert not any(word in plain for word in CANVAS), shell
