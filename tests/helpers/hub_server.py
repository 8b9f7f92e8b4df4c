"""A hub of the tests' own, which serves checkpoints as huggingface.co does and fails where it is told to."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from typing import Any
from urllib.parse import urlsplit

from rational_rewards.models.checkpoints.discovery import (
    OFFICIAL,
)

T2I = OFFICIAL[0]


class Hub:
    """A hub with one repository.

    `cut` holds how many bytes of the weights each next answer sends before the line breaks.
    """

    def __init__(self, files: dict[str, bytes]):
        self.files = files
        self.revision = "a" * 40
        self.known = {"main", self.revision}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.cut: list[int] = []
        self.resumes = True
        # Another answer than 200 to the weights.
        self.status = 0
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        path = urlsplit(request.path).path
        self.requests.append(
            (request.command, path, {name.lower(): value for name, value in request.headers.items()})
        )
        repository = f"/api/models/{T2I.repo}"
        if path.startswith(repository):
            revision = path.removeprefix(repository).removeprefix("/revision/") or "main"
            if revision not in self.known:
                self.send(request, 404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            else:
                self.send(
                    request, 200, json.dumps(self.listing()).encode(), {"Content-Type": "application/json"}
                )
            return
        name = path.removeprefix(f"/{T2I.repo}/resolve/{self.revision}/").removeprefix("/cdn/")
        data = self.files.get(name)
        if data is None:
            self.send(request, 404, b"", {})
            return
        heavy = name.endswith(".safetensors")
        # Large files lie elsewhere.
        if heavy and not path.startswith("/cdn/"):
            self.send(request, 302, b"", {"Location": f"/cdn/{name}"})
            return
        if heavy and self.status:
            self.send(request, self.status, b"", {})
            return
        start, headers, status = (
            0,
            {"ETag": '"x"', "X-Repo-Commit": self.revision, "Accept-Ranges": "bytes"},
            200,
        )
        if self.resumes and request.headers.get("Range"):
            start, status = int(request.headers["Range"].removeprefix("bytes=").rstrip("-")), 206
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self.send(request, status, data[start:], headers, self.cut.pop(0) if heavy and self.cut else None)

    def send(
        self, request: Any, status: int, data: bytes, headers: dict[str, str], cut: int | None = None
    ) -> None:
        request.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(data))}).items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(data[:cut])
        request.close_connection = True

    def listing(self) -> dict[str, Any]:
        siblings = []
        for name, data in self.files.items():
            entry: dict[str, Any] = {"rfilename": name, "size": len(data)}
            entry["blobId"] = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            if name.endswith((".safetensors", ".bin")) or name == "tokenizer.json":
                entry["lfs"] = {
                    "sha256": hashlib.sha256(data).hexdigest(),
                    "size": len(data),
                    "pointerSize": 134,
                }
            siblings.append(entry)
        return {"id": T2I.repo, "modelId": T2I.repo, "sha": self.revision, "siblings": siblings}

    def fetched(self) -> list[str]:
        """Names of the files that were asked for, in order, without the listings."""
        return [path.rpartition("/")[2] for _, path, _ in self.requests if "/resolve/" in path]

    def ranges(self) -> list[str | None]:
        """The Range header of each answer that sent weights."""
        return [headers.get("range") for _, path, headers in self.requests if path.startswith("/cdn/")]
