"""The house: which room may import which, no circles, and what importing the pack costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# From the ground up. A room imports itself and rooms below; rooms of one floor do not import each other.
FLOORS = (
    ("models",),
    ("preferences",),
    ("parrot",),
    ("training", "evaluation", "ranking", "rewards"),
    ("demo",),
    ("nodes", "cli"),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
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
HOST = {
    "comfy",
    "comfy_api",
    "comfy_extras",
    "comfy_execution",
    "folder_paths",
    "nodes",
    "server",
    "execution",
}
# The one file below the nodes that talks to ComfyUI, and only where it is called.
HOST_FILE = Path("models/residency.py")


def modules() -> dict[str, Path]:
    """Every module of the pack by its dotted name inside it ("models.critic")."""
    files = [path.relative_to(ROOT) for room in FLOOR for path in (ROOT / room).rglob("*.py")]
    return {".".join(path.with_suffix("").parts).removesuffix(".__init__"): path for path in sorted(files)}


MODULES = modules()


def internal_imports(name: str) -> set[str]:
    """The pack's modules that a module imports, at any time."""
    path = MODULES[name]
    package = path.parts[:-1]
    imported: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        start = package[: len(package) - node.level + 1]
        target = ".".join([*start, *filter(None, [node.module])])
        for alias in node.names:
            submodule = f"{target}.{alias.name}"
            imported.add(submodule if submodule in MODULES else target)
    return imported & set(MODULES)


def absolute_imports(path: Path) -> Iterator[tuple[str, bool]]:
    """(top-level package, whether it is imported with the module) of every absolute import in a file."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    late = {id(node) for function in functions for node in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.split(".")[0], id(node) not in late
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module.split(".")[0], id(node) not in late


@pytest.mark.parametrize("name", MODULES)
def test_imports_run_down_the_house(name: str) -> None:
    room = name.split(".")[0]
    for imported in internal_imports(name):
        other = imported.split(".")[0]
        assert other == room or FLOOR[other] < FLOOR[room], f"{name} imports {imported}"


def test_no_module_imports_itself_through_others() -> None:
    try:
        tuple(TopologicalSorter({name: internal_imports(name) for name in MODULES}).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_only_the_nodes_import_comfyui() -> None:
    for name, path in MODULES.items():
        if name.split(".")[0] == "nodes":
            continue
        imported = {top for top, at_import in absolute_imports(path) if at_import or path != HOST_FILE}
        assert not imported & HOST, path


def test_the_pack_is_imported_relatively() -> None:
    """ComfyUI names the pack after its folder, so that its own name cannot be imported."""
    for path in MODULES.values():
        assert "rational_rewards" not in {top for top, _ in absolute_imports(path)}, path


def test_every_folder_with_code_is_a_package_that_is_installed() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for folder in {path.parent for path in MODULES.values()}:
        assert (ROOT / folder / "__init__.py").is_file(), folder
        assert f'"rational_rewards.{".".join(folder.parts)}"' in project, folder


def test_importing_the_pack_imports_nothing_heavy() -> None:
    """torch is there already in ComfyUI; the rest waits until it is used, engines until a critic loads."""
    skipped = ("nodes", "models.engines.")
    names = [name for name in MODULES if not name.startswith(skipped)]
    lines = ["import sys, torch, importlib"]
    lines += [f"importlib.import_module('rational_rewards.{name}')" for name in names]
    lines += [f"print(sorted(set(sys.modules) & {HEAVY!r}))"]
    result = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_requirements_never_name_torch() -> None:
    for name in ("requirements.txt", "pyproject.toml"):
        lines = [line.split("#")[0] for line in (ROOT / name).read_text(encoding="utf-8").splitlines()]
        assert not any("torch" in line for line in lines), name


def test_requirements_are_lower_bounds_and_the_same_everywhere() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    required = [line for line in lines if line and not line.startswith("#")]
    assert all("==" not in line and "<" not in line for line in required)
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert all(f'"{line}"' in project for line in required)


def test_the_pinned_tools_are_the_same_everywhere() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    (pin,) = [line.strip(' ",') for line in project.splitlines() if line.strip().startswith('"ruff==')]
    assert hooks.count(pin) == 2
