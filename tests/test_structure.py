"""The arrows between the rooms, and what importing them costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("models", "preferences", "parrot", "training", "evaluation", "demo", "cli")
HEAVY = {
    "transformers",
    "bitsandbytes",
    "accelerate",
    "peft",
    "huggingface_hub",
    "tokenizers",
    "pyarrow",
    "filelock",
}
HOST = {"comfy", "comfy_api", "comfy_extras", "folder_paths", "nodes", "server", "execution"}


def imports(file):
    """(module, at import time) of every absolute import in a file; relative ones as ".module"."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    late = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.split(".")[0], id(node) not in late
        elif isinstance(node, ast.ImportFrom):
            yield (
                ("." * node.level + (node.module or "")).split(".")[0]
                or "." * node.level + (node.module or ""),
                id(node) not in late,
            )


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_below_the_nodes_never_import_comfyui(room):
    for file in (ROOT / room).rglob("*.py"):
        late = (
            file.name == "residency.py"
        )  # the one that talks to the host's memory manager, and only where it is called
        found = {name for name, at_import in imports(file) if at_import or not late}
        assert not found & HOST, file
        assert not any("nodes" in name for name in found if name.startswith(".")), file


def test_parrot_knows_nothing_of_the_shapes_world():
    for file in (
        file
        for room in ("preferences", "parrot", "training", "evaluation")
        for file in (ROOT / room).rglob("*.py")
    ):
        assert not any("demo" in name for name, _ in imports(file)), file


def test_every_folder_with_code_is_a_package_that_is_installed():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    tracked = subprocess.run(
        ["git", "ls-files", "*/__init__.py"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for folder in {Path(line).parent for line in tracked.split()} - {Path("benchmarks")}:
        assert f'"rational_rewards.{".".join(folder.parts)}"' in project, folder


def test_importing_the_pack_imports_nothing_heavy():
    """torch is there already in ComfyUI; everything else waits until it is used."""
    files = [file for room in ROOMS for file in (ROOT / room).rglob("*.py")]
    files = [file for file in files if file.parent.name != "engines"]  # imported where a critic is loaded
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]
    code = "import sys, torch, importlib\n" + "".join(
        f"importlib.import_module('rational_rewards.{name}')\n" for name in names
    )
    code += f"print(sorted(set(sys.modules) & {HEAVY!r}))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_requirements_never_name_torch():
    for name in ("requirements.txt", "pyproject.toml"):
        lines = [line.split("#")[0] for line in (ROOT / name).read_text(encoding="utf-8").splitlines()]
        assert not any("torch" in line for line in lines), name


def test_requirements_are_lower_bounds_and_the_same_everywhere():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    wanted = [line for line in lines if line and not line.startswith("#")]
    assert all("==" not in line and "<" not in line for line in wanted)
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert all(f'"{line}"' in project for line in wanted)
