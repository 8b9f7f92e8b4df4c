"""Do the parts of ComfyUI that the pack uses exist in a checkout?

`python scripts/check_comfyui_api.py CHECKOUT`.

The checkout is read as text, never imported. Collected are the names that our code imports from ComfyUI and
the attributes it takes of them, and the hooks by which ComfyUI calls us, listed below with the arguments we
count on. Prints one line a name; exit code 1 where one is missing.
"""

from __future__ import annotations

import argparse
import ast
import functools
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

PACK = Path(__file__).resolve().parent.parent
HOST = ("comfy", "comfy_api", "comfy_execution", "comfy_extras", "folder_paths", "server", "execution")
# Modules under another name than their file's: all that nodes are made of.
PUBLIC = {
    "comfy_api.latest.io": "comfy_api/latest/_io.py",
    "comfy_api.latest.ui": "comfy_api/latest/_ui.py",
}
# (file, class or "", function, arguments that we pass or take): what ComfyUI calls of us, and what we call by
# duck typing.
HOOKS = (
    (
        "comfy/model_patcher.py",
        "ModelPatcher",
        "__init__",
        ("model", "load_device", "offload_device", "size"),
    ),
    ("comfy/model_patcher.py", "ModelPatcher", "partially_load", ("device_to", "extra_memory")),
    ("comfy/model_patcher.py", "ModelPatcher", "partially_unload", ("device_to", "memory_to_free")),
    ("comfy/model_patcher.py", "ModelPatcher", "detach", ("unpatch_all",)),
    ("comfy/model_patcher.py", "ModelPatcher", "loaded_size", ()),
    ("comfy/model_patcher.py", "ModelPatcher", "current_loaded_device", ()),
    ("comfy/model_patcher.py", "ModelPatcher", "model_size", ()),
    ("comfy/model_patcher.py", "ModelPatcher", "patch_model", ()),
    ("comfy/model_patcher.py", "ModelPatcher", "unpatch_model", ()),
    ("comfy/model_management.py", "", "load_models_gpu", ("models", "memory_required")),
    ("comfy/model_management.py", "", "free_memory", ("memory_required", "device", "keep_loaded")),
    ("comfy/utils.py", "ProgressBar", "update_absolute", ("value", "total")),
    ("server.py", "PromptServer", "send_sync", ("event", "data", "sid")),
    ("server.py", "PromptServer", "add_on_prompt_handler", ("handler",)),
    ("comfy_execution/graph.py", "DynamicPrompt", "get_display_node_id", ("node_id",)),
)


@dataclass(frozen=True)
class Finding:
    """A name that we use, and what is wrong with it in the checkout; "" where nothing is."""

    name: str
    problem: str = ""


def check(checkout: Path) -> list[Finding]:
    """Every name of ComfyUI that the pack uses, looked for in a checkout."""
    findings = [Finding(name, _missing(checkout, name)) for name in sorted(_used())]
    return findings + [_hook(checkout, *hook) for hook in HOOKS]


def _used() -> set[str]:
    """Dotted names of ComfyUI in our code: modules, what is imported from them, and attributes of modules."""
    used: set[str] = set()
    for path in (*(PACK / "nodes").glob("*.py"), PACK / "models" / "residency.py", PACK / "__init__.py"):
        tree = _tree(path)
        modules: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name.split(".")[0] in HOST:
                        used.add(alias.name)
                        modules[alias.asname or alias.name] = alias.name
            elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in HOST:
                for alias in node.names:
                    name = f"{node.module}.{alias.name}"
                    used.add(name)
                    if name in PUBLIC:
                        modules[alias.asname or alias.name] = name
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                written = ast.unparse(node.value)
                first, _, rest = written.partition(".")
                if written in modules:
                    used.add(f"{modules[written]}.{node.attr}")
                elif modules.get(first) in PUBLIC and rest.isidentifier():
                    used.add(f"{modules[first]}.{rest}.{node.attr}")
    return used


@functools.cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _missing(checkout: Path, name: str) -> str:
    for public, path in PUBLIC.items():
        if name.startswith(f"{public}."):
            return _missing_member(checkout / path, name.removeprefix(f"{public}.").split("."))
    module, _, attribute = name.rpartition(".")
    if _module_file(checkout, name):
        return ""
    file = _module_file(checkout, module)
    if file is None:
        return f"there is no module {module or name}"
    return "" if attribute in _names(file) else f"{file.relative_to(checkout)} has no {attribute}"


def _missing_member(file: Path, parts: list[str]) -> str:
    """What is missing of `Class.member...` in a module."""
    if not file.is_file():
        return f"there is no {file.name}"
    if parts[0] not in _names(file):
        return f"{file.name} has no {parts[0]}"
    classes = {node.name: node for node in _statements(_tree(file)) if isinstance(node, ast.ClassDef)}
    if len(parts) > 1 and parts[0] in classes and parts[1] not in _members(parts[0], classes):
        return f"{parts[0]} has no {parts[1]}"
    return ""


def _members(name: str, classes: dict[str, ast.ClassDef]) -> set[str]:
    """The names in a class and in its bases of the same module."""
    if name not in classes:
        return set()
    members = _defined(ast.iter_child_nodes(classes[name]))
    for base in classes[name].bases:
        members |= _members(ast.unparse(base), classes)
    return members


def _module_file(checkout: Path, name: str) -> Path | None:
    if name in PUBLIC:
        return checkout / PUBLIC[name]
    base = checkout.joinpath(*name.split("."))
    return next((file for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file()), None)


def _names(file: Path) -> set[str]:
    """The names that a module has after it was imported."""
    return _defined(_statements(_tree(file)))


def _defined(statements: Iterable[ast.AST]) -> set[str]:
    """The names that statements define or import."""
    names: set[str] = set()
    for node in statements:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {
                part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)
            }
    return names


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """The statements of a module's own level, those inside `if`, `try` and `with` included."""
    for node in ast.iter_child_nodes(tree):
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from _statements(node)


def _hook(checkout: Path, file: str, owner: str, function: str, arguments: tuple[str, ...]) -> Finding:
    name = ".".join(filter(None, [file, owner, function]))
    path = checkout / file
    if not path.is_file():
        return Finding(name, f"there is no {file}")
    body: ast.AST = _tree(path)
    if owner:
        classes = [n for n in ast.walk(body) if isinstance(n, ast.ClassDef) and n.name == owner]
        if not classes:
            return Finding(name, f"{file} has no class {owner}")
        body = classes[0]
    functions = [
        node
        for node in ast.iter_child_nodes(body)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == function
    ]
    if not functions:
        return Finding(name, f"there is no {function}")
    given = functions[0].args
    known = {argument.arg for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs)}
    lacking = [argument for argument in arguments if argument not in known and given.kwarg is None]
    return Finding(name, f"it takes no {', '.join(lacking)} any more" if lacking else "")


def main(arguments: list[str] | None = None) -> int:
    """Print what is there and what is not; 1 where something is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path, help="folder of a ComfyUI checkout")
    checkout = parser.parse_args(arguments).checkout
    if not (checkout / "main.py").is_file():
        parser.error(f"{checkout} is no ComfyUI checkout")
    findings = check(checkout)
    for finding in findings:
        print(f"{'missing' if finding.problem else 'ok':8}{finding.name}  {finding.problem}".rstrip())
    return 1 if any(finding.problem for finding in findings) else 0


if __name__ == "__main__":
    sys.exit(main())
