"""Best of Batch in a real ComfyUI: what passes, what is blocked, and how latents are carried along."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from comfyui_checkouts import HINT, checkouts, version
from comfyui_server import Server
from PIL import Image
from safetensors.torch import load_file, save_file

pytestmark = [
    pytest.mark.comfyui,
    pytest.mark.skipif(not checkouts(), reason=HINT),
]
PROMPT = "two small blue squares on the left and a red star on a pink background with the word SUN"
DEMO = ("RationalRewardsLoadCritic", {"checkpoint": "shapes demo (CPU)", "quantization": "none"})
# Images 0, 1 and 3 have flaws, image 2 has none.
GOOD = 2


@pytest.fixture(scope="module", params=checkouts(), ids=lambda path: f"ComfyUI-{version(path)}")
def server(request, tmp_path_factory):
    """A running ComfyUI with four latents, filled with 0, 1, 2 and 3, in its input folder."""
    folder = tmp_path_factory.mktemp("comfyui")
    (folder / "input").mkdir(exist_ok=True)
    latents = torch.arange(4.0).reshape(4, 1, 1, 1).expand(4, 4, 8, 8).contiguous()
    marker = {"latent_format_version_0": torch.tensor([])}
    save_file({"latent_tensor": latents, **marker}, folder / "input" / "four.latent")
    running = Server(request.param, folder)
    yield running
    running.stop()


def painter(seed, flaws):
    return ("RationalRewardsShapesPainter", {"prompt": PROMPT, "seed": seed, "flaws": flaws})


def graph(**nodes):
    """An API workflow with the critic and a batch of four paintings: `name=("Class", {inputs})`."""
    four = {
        "p0": painter(3, 1.0), "p1": painter(4, 1.0), "p2": painter(1, 0.0), "p3": painter(6, 1.0),
        "p01": ("ImageBatch", {"image1": ["p0", 0], "image2": ["p1", 0]}),
        "p23": ("ImageBatch", {"image1": ["p2", 0], "image2": ["p3", 0]}),
        "batch": ("ImageBatch", {"image1": ["p01", 0], "image2": ["p23", 0]}),
        "critic": DEMO,
    }  # fmt: skip
    return {name: {"class_type": kind, "inputs": inputs} for name, (kind, inputs) in (four | nodes).items()}


def best(image="batch", **more):
    return (
        "RationalRewardsBestOf",
        {"critic": ["critic", 0], "image": [image, 0], "prompt": PROMPT, **more},
    )


def saved(source, output=0, prefix="image"):
    return ("SaveImage", {"images": [source, output], "filename_prefix": prefix})


def pixels(server, outputs, name):
    """The images that a node saved."""
    folder = server.folder / "output"
    return [np.asarray(Image.open(folder / image["filename"])) for image in outputs[name]["images"]]


def order(outputs):
    """The numbers of the images, from 1, as the panel has them, and which of them passed."""
    pages = outputs["best"]["rational_rewards"]
    assert [page["of"] for page in pages] == ["place"] * len(pages)
    return [page["image"] for page in pages], [page["image"] for page in pages if page["kept"]]


@pytest.mark.parametrize("method", ["score", "tournament"])
def test_the_best_passes_and_index_carries_images_and_latents_along(server, method):
    nodes = graph(
        best=best(method=method),
        kept=saved("best", 0, "kept"),
        others=saved("best", 4, "others"),
        good=saved("p2", 0, "good"),
        same=("ImageFromBatch", {"image": ["batch", 0], "batch_index": ["best", 1], "length": 1}),
        same_saved=saved("same", 0, "same"),
        latents=("LoadLatent", {"latent": "four.latent"}),
        chosen=("LatentFromBatch", {"samples": ["latents", 0], "batch_index": ["best", 1], "length": 1}),
        latent_saved=("SaveLatent", {"samples": ["chosen", 0], "filename_prefix": f"{method}"}),
    )
    outputs = server.run(nodes)
    ranked, kept = order(outputs)
    assert ranked[0] == GOOD + 1
    assert kept == [GOOD + 1]
    assert sorted(ranked) == [1, 2, 3, 4]
    (good,) = pixels(server, outputs, "good")
    for name in ("kept", "same_saved"):
        (image,) = pixels(server, outputs, name)
        assert (image == good).all(), name
    assert len(pixels(server, outputs, "others")) == 3
    file = next((server.folder / "output").glob(f"{method}_*.latent"))
    assert load_file(file)["latent_tensor"].unique().tolist() == [GOOD]
    assert f"| 1 | Image {GOOD + 1} | {GOOD} |" in outputs["best"]["text"][0]


def test_keep_top_gives_a_batch_best_first_and_one_latent_for_each(server):
    nodes = graph(
        best=best(keep_top=3),
        kept=saved("best", 0, "three"),
        one_by_one=("ImageFromBatch", {"image": ["batch", 0], "batch_index": ["best", 1], "length": 1}),
        again=saved("one_by_one", 0, "again"),
        scores=("PreviewAny", {"source": ["best", 2]}),
        others=saved("best", 4, "one"),
    )
    outputs = server.run(nodes)
    ranked, kept = order(outputs)
    assert kept == ranked[:3]
    three, again = pixels(server, outputs, "kept"), pixels(server, outputs, "again")
    assert len(three) == len(again) == 3
    assert all((a == b).all() for a, b in zip(three, again, strict=True))
    scores = [float(text) for text in outputs["scores"]["text"]]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    assert len(pixels(server, outputs, "others")) == 1


def test_below_the_threshold_the_branch_is_blocked_without_an_error(server):
    nodes = graph(
        best=best("p01", threshold=1.0, keep_top=2),
        kept=saved("best", 0, "none"),
        behind=("ImageInvert", {"image": ["best", 0]}),
        behind_saved=saved("behind", 0, "none"),
        index=("PreviewAny", {"source": ["best", 1]}),
        score=("PreviewAny", {"source": ["best", 2]}),
        report=("PreviewAny", {"source": ["best", 3]}),
        others=saved("best", 4, "all"),
    )
    for _ in range(2):
        outputs = server.run(nodes)
        assert not {"kept", "behind_saved", "index", "score"} & outputs.keys()
        assert "rejected" in outputs["report"]["text"][0]
        assert len(pixels(server, outputs, "others")) == 2
        assert order(outputs)[1] == []
    assert not list((server.folder / "output").glob("none*"))


def test_where_nothing_is_rejected_that_branch_is_blocked(server):
    nodes = graph(best=best(keep_top=9), kept=saved("best", 0, "all4"), others=saved("best", 4, "empty"))
    outputs = server.run(nodes)
    assert len(pixels(server, outputs, "kept")) == 4
    assert "others" not in outputs
    one = graph(best=best("p2", method="tournament"), kept=saved("best"), others=saved("best", 4, "empty"))
    outputs = server.run(one)
    assert len(pixels(server, outputs, "kept")) == 1
    assert "others" not in outputs


def test_a_list_of_batches_has_a_best_each_and_only_the_bad_batch_is_blocked(server):
    """Images 0 and 1 are both flawed, 2 is not: of two batches of two, only the second passes."""
    nodes = graph(
        pairs=("RebatchImages", {"images": ["batch", 0], "batch_size": 2}),
        best=best("pairs", threshold=1.0),
        kept=saved("best", 0, "list"),
        index=("PreviewAny", {"source": ["best", 1]}),
        others=saved("best", 4, "list-others"),
        good=saved("p2", 0, "good"),
    )
    outputs = server.run(nodes)
    (kept,), (good,) = pixels(server, outputs, "kept"), pixels(server, outputs, "good")
    assert (kept == good).all()
    assert len(pixels(server, outputs, "others")) == 3
    assert outputs["index"]["text"] == ["0"], "within its own batch"
    all_pass = nodes | graph(best=best("pairs"), kept=saved("best", 0, "both"))
    assert len(pixels(server, server.run(all_pass), "kept")) == 2


def test_edits_are_ranked_against_their_source(server):
    for method in ("score", "tournament"):
        nodes = graph(best=best("p23", source_image=["p0", 0], method=method), kept=saved("best"))
        outputs = server.run(nodes)
        assert "Image Faithfulness" in outputs["best"]["text"][0]
        assert len(pixels(server, outputs, "kept")) == 1


def test_the_inputs_stand_in_the_promised_order(server):
    known = server.get("/object_info/RationalRewardsBestOf")["RationalRewardsBestOf"]
    assert list(known["input"]["required"]) == ["critic", "image", "prompt"]
    assert list(known["input"]["optional"]) == [
        "source_image", "method", "keep_top", "rubric", "seed", "threshold",
    ]  # fmt: skip
    assert known["output_name"] == ["best_image", "index", "score", "report", "rejected"]
    assert known["output_is_list"] == [False, True, True, False, False]
