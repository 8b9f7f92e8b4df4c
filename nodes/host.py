"""What the nodes need of ComfyUI: folders, device, progress and cancel. The only place that asks the host
for them.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.utils
import folder_paths
import torch
from comfy_api.latest import io, ui
from comfy_execution.graph_utils import ExecutionBlocker

from ..models import paths
from ..models.engines.base import Progress
from ..models.errors import QuestionError
from ..models.user_settings import UserSettings, read_user_settings
from . import panel

# Of a progress bar.
STEPS = 1000
# Our own event: core's progress text runs HTML on older frontends.
STREAM = "rational_rewards.stream"
# The rounds of a loop that goes on.
ROUNDS = "rational_rewards.rounds"
# Where the page asks a loop to finish.
FINISH = "/rational_rewards/finish"
# The newest (prompt, node) that were asked to.
finishing: deque[tuple[str, str]] = deque(maxlen=64)
# Seconds between two of them: what an eye can follow, and little for a slow network.
PAUSE = 0.125
# Characters of the answer that they carry.
TAIL = 400
# Folders on a list.
MOST_FOLDERS = 2000
# What a node asks for to have a panel.
HIDDEN = [
    io.Hidden.unique_id,
    io.Hidden.dynprompt,
    io.Hidden.extra_pnginfo,
]


def register_model_folders() -> None:
    """Make `models/rationalrewards` and `models/LLM` known; folders from extra_model_paths.yaml stay in
    front.
    """
    for name in ("rationalrewards", "LLM"):
        folder_paths.add_model_folder_path(name, os.path.join(folder_paths.models_dir, name))
    paths.record_comfyui(
        paths.ComfyUIFolders(
            Path(folder_paths.get_user_directory()), Path(folder_paths.models_dir), tuple(_critic_folders())
        )
    )


def settings() -> UserSettings:
    """What the user chose on the settings page."""
    return read_user_settings(Path(folder_paths.get_user_directory()))


def model_roots() -> list[Path]:
    """Where checkpoints may lie, the download target first."""
    return settings().roots(Path(folder_paths.models_dir), _critic_folders())


def _critic_folders() -> list[Path]:
    names = ("rationalrewards", "LLM")
    return [Path(path) for name in names for path in folder_paths.get_folder_paths(name)]


def rubric_folders() -> list[Path]:
    """Where the user's own rubrics lie."""
    return [Path(folder_paths.get_user_directory()) / "rational_rewards" / "rubrics"]


def image_folders() -> list[str]:
    """Folders that images can be loaded from: "output", "input", and those below them, as "output/portraits".

    Links are not followed.
    """
    found: list[str] = []
    for root, place in _image_roots().items():
        found.append(root)
        for path, folders, _ in os.walk(place):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            below = Path(path).relative_to(place)
            found += [f"{root}/{(below / name).as_posix()}" for name in folders]
            if len(found) > MOST_FOLDERS:
                break
    return found


def image_folder(name: str) -> Path:
    """The place of one of `image_folders`. Raises QuestionError for anything outside them."""
    root, _, below = name.partition("/")
    roots = _image_roots()
    place = roots.get(root, Path()) / below
    # As ComfyUI's own loaders: nothing outside its folders, whatever a shared workflow asks for.
    if root not in roots or not place.resolve().is_relative_to(roots[root].resolve()):
        raise QuestionError(f"{name} is no folder inside ComfyUI's output or input folder: choose another.")
    return place


def _image_roots() -> dict[str, Path]:
    return {
        "output": Path(folder_paths.get_output_directory()),
        "input": Path(folder_paths.get_input_directory()),
    }


def preferences_root() -> Path:
    """Where the user's preferences lie, one folder a dataset."""
    return Path(folder_paths.get_user_directory()) / "rational_rewards" / "preferences"


def device() -> Any:
    """The device that ComfyUI computes on."""
    return comfy.model_management.get_torch_device()


def make_room(size: int) -> None:
    """Ask ComfyUI to free `size` bytes on its device, and what it wants to be free besides, before something
    is loaded there.
    """
    manager, target = comfy.model_management, device()
    if target.type != "cpu":
        manager.free_memory(1.1 * size + manager.minimum_inference_memory(), target)


def forget_earlier_runs() -> None:
    """Have ComfyUI let go of what only earlier runs used: newer versions keep it until a node is done, too
    late for a critic that replaces another."""
    memory = sys.modules.get("comfy.memory_management")
    if memory and hasattr(memory, "extra_ram_release"):
        memory.extra_ram_release(sys.maxsize)


def check_cancel() -> None:
    """Raise ComfyUI's own exception when the user has cancelled."""
    comfy.model_management.throw_exception_if_processing_interrupted()


def blocked() -> ExecutionBlocker:
    """An output that keeps whatever is connected to it from running, without an error."""
    return ExecutionBlocker(None)


def _server() -> Any:
    """The running server, or None."""
    from server import PromptServer

    return getattr(PromptServer, "instance", None)


def listen_to_prompts(*handlers: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Have every prompt that is queued pass these functions, as the data that a page posts, and the page's
    buttons reach running nodes.
    """
    server = _server()
    if server:
        for handler in handlers:
            server.add_on_prompt_handler(handler)
        server.routes.post(FINISH)(finish_loop)


def workflow_id(hidden: Any) -> str | None:
    """The id of the workflow that is run, from a node's hidden inputs; None for an API prompt that brings no
    workflow.
    """
    workflow = _workflow(hidden)
    id = workflow.get("id") if workflow else None
    return id if isinstance(id, str) else None


def _workflow(hidden: Any) -> dict[str, Any] | None:
    """The workflow that is run, as the images saved in this run will hold it."""
    info = hidden.extra_pnginfo
    workflow = info.get("workflow") if isinstance(info, dict) else None
    return workflow if isinstance(workflow, dict) else None


def forget_results(json_data: dict[str, Any]) -> dict[str, Any]:
    """Take earlier results out of a workflow that is queued: images saved in this run hold only results of
    this run.
    """
    extra = json_data.get("extra_data")
    info = extra.get("extra_pnginfo") if isinstance(extra, dict) else None
    panel.clear_pages(info.get("workflow") if isinstance(info, dict) else None)
    return json_data


def show(hidden: Any, pages: list[panel.Page], texts: list[str], of: str, critic: str) -> dict[str, Any]:
    """A node's `ui` (see `panel.ui`). Its pages also go into the workflow that images saved in this run
    hold.
    """
    ui = panel.ui(pages, texts, of, critic, workflow_id(hidden))
    workflow = _workflow(hidden)
    if workflow and settings().keep_results:
        panel.embed_pages(workflow, shown_on(hidden), ui["rational_rewards"])
    return ui


def show_rounds(hidden: Any, story: panel.Page, texts: list[str], critic: str) -> dict[str, Any]:
    """As `show`, for a loop: its rounds so far replace those that were shown, under one object that grows."""
    workflow = _workflow(hidden)
    pages = panel.payload(story["rounds"], "round", critic, workflow_id(hidden))
    if workflow and settings().keep_results:
        panel.embed_rounds(workflow, str(shown_on(hidden)), pages)
    story.update(of="loop", rounds=pages)
    return {"rational_rewards": [story], "text": texts}


def send_rounds(hidden: Any, story: panel.Page) -> None:
    """Show a loop's rounds while it goes on."""
    server = _server()
    if server and server.client_id is not None:
        server.send_sync(ROUNDS, {"node": shown_on(hidden), "pages": [story]}, server.client_id)


async def finish_loop(request: Any) -> Any:
    """Answer the page's button: the loop of `node` in the running prompt `prompt` ends after its round."""
    from aiohttp import web

    try:
        wanted = await request.json()
    except ValueError:
        wanted = None
    if not isinstance(wanted, dict) or not all(
        isinstance(wanted.get(key), str) for key in ("prompt", "node")
    ):
        return web.json_response({"error": "Name a prompt and a node."}, status=400)
    finishing.append((wanted["prompt"], wanted["node"]))
    return web.json_response({})


def is_asked_to_finish(hidden: Any) -> bool:
    """Whether the user wants this loop to end after the round."""
    from comfy_execution.utils import get_executing_context

    context = get_executing_context()
    return context is not None and (context.prompt_id, str(shown_on(hidden))) in finishing


def running_prompt(hidden: Any) -> Any:
    """The prompt with all its expansions, ComfyUI's `DynamicPrompt`."""
    return hidden.dynprompt


def own_inputs(hidden: Any) -> dict[str, Any]:
    """A node's inputs as they stand in the running prompt: values, and links to other nodes."""
    return hidden.dynprompt.get_node(hidden.unique_id)["inputs"]


def is_copy(hidden: Any) -> bool:
    """Whether a node came from an expansion, not from the prompt that was queued."""
    return hidden.dynprompt.get_parent_node_id(hidden.unique_id) is not None


def is_output_node(class_type: str) -> bool:
    """Whether nodes of a class are run for their own sake."""
    import nodes as comfyui_nodes

    mappings = comfyui_nodes.NODE_CLASS_MAPPINGS  # type: ignore[attr-defined]
    return bool(getattr(mappings.get(class_type), "OUTPUT_NODE", False))


def shown_on(hidden: Any) -> str | None:
    """The id of the node on the canvas: a node that another one expanded into is shown on that one."""
    return hidden.dynprompt.get_display_node_id(hidden.unique_id) if hidden.dynprompt else hidden.unique_id


def preview(node: type[io.ComfyNode], image: torch.Tensor, *texts: str) -> dict[str, Any]:
    """What a node shows of itself: a batch of images below its inputs, and texts for whoever reads its
    outputs.
    """
    return {**ui.PreviewImage(image, cls=node).as_dict(), **({"text": list(texts)} if texts else {})}


def rubrics_changed() -> list[tuple[str, float]]:
    """When the user's own rubrics were last changed, so that a node runs again after an edit: all, because
    one may extend another.
    """
    return sorted(
        (file.name, file.stat().st_mtime) for folder in rubric_folders() for file in folder.glob("*.yaml")
    )


class Bar:
    """A progress bar on the running node, in fractions."""

    def __init__(self) -> None:
        self.bar = comfy.utils.ProgressBar(STEPS)

    def show(self, done: float, total: float) -> None:
        """`done` of `total`, in any unit."""
        self.bar.update_absolute(min(STEPS, int(STEPS * done / total)) if total else 0, STEPS)


class Stream:
    """The answer on its way to the panel, for whoever queued the prompt: how far it is, which part, and the
    last words.
    """

    def __init__(self, hidden: Any, facts: dict[str, Any]) -> None:
        self.node, self.workflow = shown_on(hidden), workflow_id(hidden)
        self.facts = facts
        self.next = 0.0

    def show(self, done: float, total: int, section: str, tail: str) -> None:
        """As `Progress.progress`; what comes too soon after the last is left out."""
        server, now = _server(), time.monotonic()
        if not server or server.client_id is None or now < self.next:
            return
        self.next = now + PAUSE
        # The first and the last character may be halves.
        text = tail.strip("\ufffd")[-TAIL:]
        told = {
            **self.facts,
            "node": self.node,
            "workflow": self.workflow,
            "done": done,
            "total": total,
            "section": section,
            "text": text,
        }
        server.send_sync(STREAM, told, server.client_id)


def progress(hidden: Any = None, **facts: Any) -> Progress:
    """Progress on the node, and cancel at every token. With a node's `hidden` inputs (see HIDDEN) its panel
    shows the answer live, with `facts` beside it.
    """
    bar = Bar()
    stream = Stream(hidden, facts) if hidden else None
    if stream:
        # Reading the images comes first, and may take a while.
        stream.show(0, 1, "", "")

    def update(done: float, total: int, section: str, tail: str) -> None:
        bar.show(done, total)
        if stream:
            stream.show(done, total, section, tail)

    return Progress(check_cancel, update)
