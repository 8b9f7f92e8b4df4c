"""Progress and words of a run, as they arrive over the websocket."""

from __future__ import annotations

import contextlib
import json
import time
import uuid

import comfyui_checkouts
import comfyui_page
import pytest
import requests
import websocket
from panel_page import (
    HOSTILE,
    KIND,
    PROMPT,
    STREAM,
    fresh_seed,
)

pytestmark = [
    pytest.mark.comfyui,
    pytest.mark.skipif(not comfyui_checkouts.checkouts(), reason=comfyui_checkouts.HINT),
    pytest.mark.skipif(not comfyui_page.AVAILABLE, reason=comfyui_page.HINT),
]


def test_progress_and_words_arrive_in_order_over_the_websocket(server):
    """What another program gets that queues a prompt: and only that one."""
    paint = {"prompt": PROMPT, "seed": fresh_seed("progress")}
    prompt = {
        "critic": {
            "class_type": KIND("LoadCritic"),
            "inputs": {"checkpoint": "shapes demo (CPU)", "quantization": "none"},
        },
        "image": {"class_type": KIND("ShapesPainter"), "inputs": paint},
        "critique": {
            "class_type": KIND("Critique"),
            "inputs": {"critic": ["critic", 0], "image": ["image", 0], "prompt": HOSTILE},
        },
        "refine": {"class_type": KIND("RefinePrompt"), "inputs": {"critique": ["critique", 0]}},
    }
    other = websocket.create_connection(
        server.url.replace("http", "ws") + f"/ws?clientId={uuid.uuid4().hex}", timeout=60
    )
    socket = server.listen()
    info = {"extra_pnginfo": {"workflow": {"id": "the workflow"}}}
    asked = {"prompt": prompt, "client_id": server.client, "extra_data": info}
    start = time.monotonic()
    prompt_id = requests.post(f"{server.url}/prompt", json=asked, timeout=60).json()["prompt_id"]
    events = []
    while not (events and events[-1]["type"] in ("execution_success", "execution_error")):
        message = socket.recv()
        if isinstance(message, str):
            events.append(json.loads(message))
    seconds = time.monotonic() - start
    outputs = server.result(prompt_id)
    for name in ("critique", "refine"):
        mine = [
            e
            for e in events
            if str(e["data"].get("node")) == name and e["type"] in (STREAM, "progress", "executed")
        ]
        kinds = [event["type"] for event in mine]
        streams = [event["data"] for event in mine if event["type"] == STREAM]
        assert kinds[0] == STREAM, "what the panel shows first"
        assert len(streams) <= 8 * seconds + 1, "no more than an eye can follow"
        assert "progress" in kinds
        assert kinds.index("executed") == len(kinds) - 1
        assert [s["done"] for s in streams] == sorted(s["done"] for s in streams)
        assert all(
            s["workflow"] == "the workflow" and s["done"] <= s["total"] and len(s["text"]) <= 400
            for s in streams
        )
        assert mine[-1]["data"]["output"] == outputs[name]
        assert all(page["workflow"] == "the workflow" for page in outputs[name]["rational_rewards"])
    written = [e["data"] for e in events if e["type"] == STREAM and e["data"]["text"]]
    assert any("Justification" in s["text"] for s in written)
    assert outputs["refine"]["rational_rewards"][0]["before"] == HOSTILE
    refined = outputs["refine"]["rational_rewards"][0]
    assert outputs["refine"]["text"] == [f"{refined['after']}\n\nBefore: {HOSTILE}\n\n{refined['comments']}"]
    other.settimeout(1)
    with contextlib.suppress(websocket.WebSocketTimeoutException):
        while True:
            assert STREAM not in str(other.recv()), "what somebody else's critic writes is nobody's business"
    other.close()
    socket.close()
