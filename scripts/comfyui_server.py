"""A real ComfyUI server with this pack, in a folder of its own, driven over HTTP and its websocket."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import requests
import websocket

PACK = Path(__file__).resolve().parent.parent
NAME = "rational-rewards"


class Failed(Exception):
    """A prompt ended with an error; `node` is the node's id and the text is the error's message."""

    def __init__(self, message: str, node: str = "", kind: str = ""):
        super().__init__(message)
        self.node = node
        self.kind = kind


class Server:
    """`Server(checkout, folder)` starts one and waits until it answers; `stop()` ends it."""

    def __init__(
        self, checkout: Path, folder: Path, *options: str, environment: dict[str, str] | None = None
    ):
        self.folder = folder
        for name in ("custom_nodes", "models/LLM", "input", "output", "user/default"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "custom_nodes" / NAME).symlink_to(PACK, target_is_directory=True)
        settings = {"Comfy.TutorialCompleted": True, "Comfy.InstalledVersion": "1.99.0"}
        (folder / "user" / "default" / "comfy.settings.json").write_text(
            json.dumps(settings), encoding="utf-8"
        )
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = uuid.uuid4().hex
        self.log = folder / "server.log"
        command = [
            sys.executable,
            "main.py",
            "--cpu",
            "--port",
            str(self.port),
            "--base-directory",
            str(folder),
        ]
        with self.log.open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [*command, "--disable-api-nodes", "--disable-auto-launch", *options],
                cwd=checkout,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ
                | {"HF_HUB_OFFLINE": "1", "RATIONAL_REWARDS_RECORD": str(folder / "comfyui.json")}
                | (environment or {}),
                start_new_session=True,
            )
        self._wait()

    def _wait(self, seconds: float = 180) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            try:
                requests.get(f"{self.url}/system_stats", timeout=2).raise_for_status()
                return
            except requests.RequestException:
                time.sleep(0.3)
        self.stop()
        raise RuntimeError(f"ComfyUI did not start:\n{self.text()[-4000:]}")

    def text(self) -> str:
        """The server's log."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def get(self, path: str) -> Any:
        """JSON of a GET request."""
        answer = requests.get(f"{self.url}{path}", timeout=60)
        answer.raise_for_status()
        return answer.json()

    def post(self, path: str, data: Any) -> requests.Response:
        """A POST request with JSON."""
        return requests.post(f"{self.url}{path}", json=data, timeout=60)

    def queue(self, prompt: dict[str, Any]) -> str:
        """Queue an API workflow; returns its prompt id. Raises Failed where validation refuses it."""
        answer = self.post("/prompt", {"prompt": prompt, "client_id": self.client})
        if answer.status_code != 200:
            raise Failed(json.dumps(answer.json()), kind="validation")
        return answer.json()["prompt_id"]

    def run(self, prompt: dict[str, Any], seconds: float = 240) -> dict[str, Any]:
        """Run an API workflow to its end; returns the outputs of its nodes. Raises Failed with the node's
        error.
        """
        return self.result(self.queue(prompt), seconds)

    def result(self, prompt_id: str, seconds: float = 240) -> dict[str, Any]:
        """The outputs of a queued prompt, when it is done."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            history = self.get(f"/history/{prompt_id}")
            if prompt_id in history and history[prompt_id].get("status", {}).get("completed") is not None:
                entry = history[prompt_id]
                if entry["status"]["status_str"] != "success":
                    kind, data = entry["status"]["messages"][-1]
                    raise Failed(data.get("exception_message", kind), str(data.get("node_id", "")), kind)
                return entry["outputs"]
            if self.process.poll() is not None:
                raise RuntimeError(f"ComfyUI ended:\n{self.text()[-4000:]}")
            time.sleep(0.1)
        raise TimeoutError(f"no result after {seconds} s:\n{self.text()[-2000:]}")

    def free(self) -> None:
        """Unload all models and drop all cached outputs; returns when that is done."""
        self.post("/free", {"unload_models": True, "free_memory": True})
        # The queue sees to it between two prompts: at the latest before the prompt that follows this one.
        self.run({"text": {"class_type": "PreviewAny", "inputs": {"source": uuid.uuid4().hex}}})

    def listen(self) -> websocket.WebSocket:
        """The websocket on which this client's events arrive."""
        return websocket.create_connection(
            f"ws://127.0.0.1:{self.port}/ws?clientId={self.client}", timeout=60
        )

    def stop(self) -> None:
        """End the server and what it started."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
