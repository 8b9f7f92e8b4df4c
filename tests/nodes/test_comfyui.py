"""The pack in a real ComfyUI server: what an artist does, over the interface that the canvas uses."""

from __future__ import annotations

import json
import re
import shutil
import threading
import time

import numpy as np
import pytest
import requests
from api_workflows import CRITIC, DEMO, IMAGE, NODES, SHORT, critique, graph, saved_with_scores
from comfyui_checkouts import HINT, checkouts, version
from comfyui_server import NAME, Failed, Server
from PIL import Image

pytestmark = [
    pytest.mark.comfyui,
    pytest.mark.skipif(not checkouts(), reason=HINT),
]


@pytest.fixture(scope="module", params=checkouts(), ids=lambda path: f"ComfyUI-{version(path)}")
def server(request, tmp_path_factory, checkpoint_folder, pictures):
    """A running ComfyUI with a tiny critic in models/LLM and two pictures in its input folder."""
    folder = tmp_path_factory.mktemp("comfyui")
    shutil.copytree(checkpoint_folder(), folder / "models" / "LLM" / "tiny critic")
    (folder / "input").mkdir(exist_ok=True)
    for name, picture in zip(("a.png", "b.png"), pictures, strict=False):
        picture.resize((256, 192)).save(folder / "input" / name)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 70, 4), dtype=np.uint8)).save(
        folder / "input" / "alpha.png"
    )
    running = Server(request.param, folder)
    yield running
    running.stop()


# ---------------------------------------------------------------- registration


def test_all_nodes_are_registered_with_the_promised_outputs(server):
    known = server.get("/object_info")
    for name, outputs in NODES.items():
        assert known[name]["output"] == outputs
        assert known[name]["category"].startswith("RationalRewards/")
        assert known[name]["description"]
        for group in (known[name]["input"].get(kind, {}) for kind in ("required", "optional")):
            for id, spec in group.items():
                assert len(spec) > 1, f"{name}.{id} has no tooltip"
                assert spec[1].get("tooltip"), f"{name}.{id} has no tooltip"
    order = [
        *known["RationalRewardsCritique"]["input"]["required"],
        *known["RationalRewardsCritique"]["input"]["optional"],
    ]
    assert order == [
        "critic",
        "image",
        "prompt",
        "source_image",
        "rubric",
        "seed",
        "temperature",
        "max_new_tokens",
        "answer",
    ]


def test_the_pack_imports_quickly_by_comfyui_s_own_report(server):
    """0.0 or 0.1 on a quiet computer; the limit leaves room for a busy one. What is imported:
    test_structure.py.
    """
    times = re.findall(rf"([0-9.]+) seconds.*{NAME}", server.text())
    assert times, server.text()[-2000:]
    assert float(times[0]) <= 1


def test_local_checkpoints_come_before_those_to_download(server):
    options = server.get("/object_info/RationalRewardsLoadCritic")["RationalRewardsLoadCritic"]["input"][
        "required"
    ]["checkpoint"]
    names = options[1]["options"] if isinstance(options[1].get("options"), list) else options[0]
    assert names[0] == "tiny critic"
    assert "TIGER-Lab/RationalRewards-8B-T2I" in names


# ---------------------------------------------------------------- the whole chain


def test_load_critique_score_compare_refine_card_save(server):
    nodes = graph(
        critic=CRITIC,
        image=IMAGE,
        other=("LoadImage", {"image": "b.png"}),
        critique=critique(),
        score=("RationalRewardsScore", {"critic": ["critic", 0], "image": ["image", 0], **SHORT}),
        compare=(
            "RationalRewardsCompare",
            {"critic": ["critic", 0], "image_a": ["image", 0], "image_b": ["other", 0], **SHORT},
        ),
        refine=("RationalRewardsRefinePrompt", {"critique": ["critique", 0], "keep": "astronaut"}),
        card=("RationalRewardsCritiqueCard", {"critique": ["critique", 0], "image": ["image", 0]}),
        save=("SaveImage", {"images": ["card", 0], "filename_prefix": "card"}),
        scored=(
            "RationalRewardsSaveWithScores",
            {"image": ["image", 0], "critique": ["critique", 0], "filename_prefix": "scored"},
        ),
        winner=("SaveImage", {"images": ["compare", 0], "filename_prefix": "winner"}),
        text=("PreviewAny", {"source": ["refine", 0]}),
    )
    outputs = server.run(nodes)
    assert "Text Faithfulness" in outputs["critique"]["text"][0]
    assert "astronaut" in outputs["refine"]["text"][0]
    card = Image.open(server.folder / "output" / outputs["save"]["images"][0]["filename"])
    assert card.width >= 512
    saved = Image.open(server.folder / "output" / outputs["scored"]["images"][0]["filename"])
    data = json.loads(saved.info["rational_rewards"])
    assert data["prompt"] == SHORT["prompt"]
    assert data["complete"]
    assert 0 <= data["score"] <= 1
    assert set(data["dimensions"]) == {"text_faithfulness", "physical_quality", "text_rendering"}
    assert "prompt" in saved.info


def test_a_second_run_is_served_from_the_cache(server):
    nodes = graph(critic=CRITIC, image=IMAGE, critique=critique())
    first = server.run(nodes)
    seen = []
    socket = server.listen()
    prompt = server.queue(nodes)
    assert server.result(prompt)["critique"] == first["critique"]
    socket.settimeout(2)
    try:
        while True:
            message = socket.recv()
            if isinstance(message, str):
                seen.append(json.loads(message))
    except Exception:
        socket.close()
    cached = [
        m["data"]["nodes"]
        for m in seen
        if m["type"] == "execution_cached" and m["data"]["prompt_id"] == prompt
    ]
    assert cached
    assert set(cached[0]) >= {"critic", "critique"}


def test_a_batch_gives_one_score_an_image_in_order(server):
    batch = ("ImageBatch", {"image1": ["image", 0], "image2": ["other", 0]})
    nodes = graph(critic=CRITIC, image=IMAGE, other=("LoadImage", {"image": "b.png"}), batch=batch)
    score = ("RationalRewardsScore", {"critic": ["critic", 0], "image": ["batch", 0], **SHORT})
    text = server.run(nodes | graph(score=score))["score"]["text"][0]
    whole = re.compile(
        r"## Image 1\n\n\*\*Score [0-9.]+\*\*.*\| Text Faithfulness \|.*"
        r"## Image 2\n.*\| Text Rendering \|.*Judged by tiny critic \(nf4\)\.\*",
        re.DOTALL,
    )
    assert whole.fullmatch(text), "what the panel shows, for whoever has none"
    fast = ("RationalRewardsScore", {"critic": ["critic", 0], "image": ["batch", 0], **SHORT, "mode": "fast"})
    assert whole.fullmatch(server.run(nodes | graph(score=fast))["score"]["text"][0])


def test_edits_and_transparent_pictures_are_judged(server):
    nodes = graph(
        critic=CRITIC,
        image=("LoadImage", {"image": "alpha.png"}),
        source=IMAGE,
        critique=critique(source_image=["source", 0]),
    )
    assert "Image Faithfulness" in server.run(nodes)["critique"]["text"][0]


def test_int8_and_unquantized_critics_run_too(server):
    for quantization in ("int8", "none"):
        critic = (CRITIC[0], CRITIC[1] | {"quantization": quantization})
        outputs = server.run(graph(critic=critic, image=IMAGE, critique=critique()))
        assert "Text Faithfulness" in outputs["critique"]["text"][0]


# ---------------------------------------------------------------- bad input, cancel


def failure(server, node, **nodes):
    """The message of a run that has to fail on that node."""
    with pytest.raises(Failed) as caught:
        server.run(graph(**nodes))
    assert caught.value.node == node, str(caught.value)
    message = str(caught.value).strip()
    assert "\n" not in message, "one sentence"
    assert "Traceback" not in message
    return message


def test_errors_stand_on_the_right_node_and_the_next_run_is_fine(server):
    base = dict(critic=CRITIC, image=IMAGE)
    missing = failure(
        server,
        "critic",
        critic=(CRITIC[0], {"checkpoint": "not here", "quantization": "nf4"}),
        image=IMAGE,
        critique=critique(),
    )
    assert "not here" in missing
    official = failure(
        server,
        "critic",
        critic=(CRITIC[0], {"checkpoint": "TIGER-Lab/RationalRewards-8B-T2I", "quantization": "nf4"}),
        image=IMAGE,
        critique=critique(),
    )
    assert "rationalrewards" in official, "says where the files go by hand"
    batch = ("ImageBatch", {"image1": ["image", 0], "image2": ["image", 0]})
    three = ("ImageBatch", {"image1": ["batch", 0], "image2": ["image", 0]})
    sources = failure(
        server,
        "critique",
        **base,
        batch=batch,
        three=three,
        critique=critique("three", source_image=["batch", 0]),
    )
    assert "source_image" in sources
    card = ("RationalRewardsCritiqueCard", {"critique": ["critique", 0], "image": ["batch", 0]})
    cards = failure(server, "card", **base, batch=batch, critique=critique(), card=card)
    assert "same batch" in cards
    assert (
        "Text Faithfulness"
        in server.run(graph(**base, critique=critique(prompt="the next run")))["critique"]["text"][0]
    )


def test_a_broken_checkpoint_is_explained_and_leaves_nothing(server, checkpoint_folder):
    broken = server.folder / "models" / "LLM" / "broken"
    shutil.copytree(checkpoint_folder(), broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    message = failure(
        server,
        "critic",
        critic=(CRITIC[0], {"checkpoint": "broken", "quantization": "nf4"}),
        image=IMAGE,
        critique=critique(),
    )
    assert "model.safetensors" in message


def test_cancel_in_the_middle_then_the_next_run_works(server):
    long = critique(prompt="a long one", max_new_tokens=16384)
    socket = server.listen()
    prompt = server.queue(graph(critic=CRITIC, image=IMAGE, critique=long))
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        message = socket.recv()
        if isinstance(message, str):
            event = json.loads(message)
            if event["type"] in ("progress", "progress_state") and "critique" in json.dumps(event):
                break
    start = time.monotonic()
    requests.post(f"{server.url}/interrupt", timeout=10)
    with pytest.raises(Failed) as caught:
        server.result(prompt)
    assert caught.value.kind == "execution_interrupted"
    assert time.monotonic() - start < 15
    socket.close()
    assert (
        "Text Faithfulness"
        in server.run(graph(critic=CRITIC, image=IMAGE, critique=critique(prompt="after the cancel")))[
            "critique"
        ]["text"][0]
    )


def test_two_clients_at_once_get_their_own_answers(server):
    results = {}

    def ask(name):
        results[name] = server.run(
            graph(
                critic=CRITIC, image=("LoadImage", {"image": f"{name}.png"}), critique=critique(prompt=name)
            )
        )

    threads = [threading.Thread(target=ask, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(results) == {"a", "b"}


def test_a_transparent_image_is_judged_and_stays_transparent_when_saved(server):
    nodes = graph(
        critic=CRITIC,
        loaded=("LoadImage", {"image": "alpha.png"}),
        image=("JoinImageWithAlpha", {"image": ["loaded", 0], "alpha": ["loaded", 1]}),
        critique=critique(),
        saved=saved_with_scores(),
    )
    name = server.run(nodes)["saved"]["images"][0]["filename"]
    with Image.open(server.folder / "output" / name) as saved:
        assert saved.mode == "RGBA"
        assert len(np.unique(np.asarray(saved)[..., 3])) > 10
        assert "rational_rewards" in saved.info


def test_the_smallest_image_is_judged(server):
    one = ("EmptyImage", {"width": 1, "height": 1, "batch_size": 1, "color": 0})
    assert server.run(graph(critic=CRITIC, image=one, critique=critique()))["critique"]["text"]


def test_an_empty_prompt_and_a_fast_demo_critic_are_refused_in_one_sentence(server):
    for kind in ("Critique", "Score"):
        inputs = {"critic": ["critic", 0], "image": ["image", 0], **SHORT, "prompt": " "}
        message = failure(
            server, "judge", critic=CRITIC, image=IMAGE, judge=(f"RationalRewards{kind}", inputs)
        )
        assert "prompt" in message
    inputs = {
        "critic": ["critic", 0],
        "image_a": ["image", 0],
        "image_b": ["image", 0],
        **SHORT,
        "prompt": "",
    }
    message = failure(server, "judge", critic=CRITIC, image=IMAGE, judge=("RationalRewardsCompare", inputs))
    assert "prompt" in message
    inputs = {"critic": ["critic", 0], "image": ["image", 0], **SHORT, "mode": "fast"}
    message = failure(server, "judge", critic=DEMO, image=IMAGE, judge=("RationalRewardsScore", inputs))
    assert "shapes demo (CPU)" in message
    assert "choose mode = reasoned" in message


def stale_workflow():
    pages = [{"score": 0.1, "raw": "an earlier run"}]
    node = {"id": 1, "type": "RationalRewardsCritique", "properties": {"rational_rewards": {"pages": pages}}}
    return {"id": "b0a1", "nodes": [node]}


def test_each_image_of_a_batch_holds_its_own_critique_also_from_the_cache(server):
    batch = ("ImageBatch", {"image1": ["first", 0], "image2": ["second", 0]})
    nodes = {
        "0": {"class_type": CRITIC[0], "inputs": CRITIC[1]},
        **graph(first=IMAGE, second=("LoadImage", {"image": "b.png"}), batch=batch),
        "1": {
            "class_type": "RationalRewardsCritique",
            "inputs": {"critic": ["0", 0], "image": ["batch", 0], **SHORT},
        },
    }
    # The second time Critique comes from the cache, and only the saving runs.
    for prefix in ("one", "two"):
        inputs = {"image": ["batch", 0], "critique": ["1", 0], "filename_prefix": prefix}
        nodes["saved"] = {"class_type": "RationalRewardsSaveWithScores", "inputs": inputs}
        extra = {"extra_pnginfo": {"workflow": stale_workflow()}}
        body = {"prompt": nodes, "client_id": server.client, "extra_data": extra}
        outputs = server.result(server.post("/prompt", body).json()["prompt_id"])
        raws = []
        for image in outputs["saved"]["images"]:
            with Image.open(server.folder / "output" / image["filename"]) as saved:
                own = json.loads(saved.info["rational_rewards"])
                (page,) = json.loads(saved.info["workflow"])["nodes"][0]["properties"]["rational_rewards"][
                    "pages"
                ]
            assert page["score"] == pytest.approx(own["score"], abs=1e-4)
            raws.append(page["raw"])
        assert raws == [page["raw"] for page in outputs["1"]["rational_rewards"]]


@pytest.mark.parametrize("prefix", ["n" * 300, "n" * 300 + "/name", "folder/" + "画" * 90])
def test_a_name_that_is_too_long_for_a_file_is_refused_in_one_sentence(server, prefix):
    before = sorted((server.folder / "output").rglob("*.p*"))
    painter = ("RationalRewardsShapesPainter", {"prompt": "a red star", "seed": 1})
    inputs = {"image": ["image", 0], "critique": ["critique", 0], "filename_prefix": prefix}
    saved = ("RationalRewardsSaveWithScores", inputs)
    message = failure(server, "saved", critic=DEMO, image=painter, critique=critique(), saved=saved)
    assert "choose a shorter filename_prefix" in message
    assert sorted((server.folder / "output").rglob("*.p*")) == before


def test_half_an_emoji_stops_neither_a_save_nor_the_queue(server):
    painter = ("RationalRewardsShapesPainter", {"prompt": "a red star", "seed": 1})
    inputs = {"critic": ["critic", 0], "image": ["image", 0], "prompt": "a red star \ud83d"}
    judged = ("RationalRewardsCritique", inputs)
    nodes = graph(critic=DEMO, image=painter, critique=judged, saved=saved_with_scores())
    name = server.run(nodes)["saved"]["images"][0]["filename"]
    with Image.open(server.folder / "output" / name) as saved:
        assert json.loads(saved.info["rational_rewards"])["prompt"] == "a red star \ufffd"
    # A log that cannot write an error would take the queue with it.
    named = ("RationalRewardsLoadCritic", {"checkpoint": "x\ud83d", "quantization": "none"})
    assert "x\ufffd" in failure(server, "critic", critic=named, image=painter, critique=critique())
    assert server.run(graph(critic=DEMO, image=painter, critique=critique()))


@pytest.mark.parametrize("checkout", checkouts()[:1], ids=lambda path: f"ComfyUI-{version(path)}")
def test_no_metadata_means_none(checkout, tmp_path):
    """With --disable-metadata an image holds nothing that quotes the prompt: no workflow, no judgement."""
    running = Server(checkout, tmp_path, "--disable-metadata")
    try:
        painter = ("RationalRewardsShapesPainter", {"prompt": "a red star", "seed": 1})
        nodes = graph(critic=DEMO, image=painter, critique=critique(), saved=saved_with_scores())
        name = running.run(nodes)["saved"]["images"][0]["filename"]
        with Image.open(tmp_path / "output" / name) as saved:
            assert saved.info == {}
    finally:
        running.stop()
