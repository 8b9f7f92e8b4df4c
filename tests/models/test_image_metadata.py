"""The prompt that an image was made from, out of the metadata that each program writes."""

from __future__ import annotations

import json

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from rational_rewards.models.image_metadata import find_prompt, prompt_of

POSITIVE, NEGATIVE = "a lighthouse at dawn, (film grain:1.2)", "blurry, low quality"


def node(kind, **inputs):
    return {"class_type": kind, "inputs": inputs}


def usual_graph(**changes):
    """ComfyUI's text-to-image graph, as its prompt metadata has it."""
    graph = {
        "4": node("CheckpointLoaderSimple", ckpt_name="sd_xl.safetensors"),
        "5": node("EmptyLatentImage", width=1024, height=1024, batch_size=1),
        "7": node("CLIPTextEncode", text=NEGATIVE, clip=["4", 1]),
        "6": node("CLIPTextEncode", text=POSITIVE, clip=["4", 1]),
        "3": node(
            "KSampler",
            seed=1,
            model=["4", 0],
            positive=["6", 0],
            negative=["7", 0],
            latent_image=["5", 0],
        ),
        "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "9": node("SaveImage", filename_prefix="ComfyUI", images=["8", 0]),
    }
    return {**graph, **changes}


def png(folder, **texts):
    info = PngInfo()
    for name, text in texts.items():
        info.add_text(name, text if isinstance(text, str) else json.dumps(text))
    Image.new("RGB", (32, 32)).save(folder / "image.png", pnginfo=info)
    return folder / "image.png"


def test_the_positive_prompt_of_comfyui_is_told_from_the_negative_one(tmp_path):
    assert prompt_of(png(tmp_path, prompt=usual_graph())) == POSITIVE


@pytest.mark.parametrize(
    "changes",
    [
        # The text is typed into a node of its own.
        {
            "6": node("CLIPTextEncode", text=["10", 0], clip=["4", 1]),
            "10": node("PrimitiveStringMultiline", value=POSITIVE),
        },
        # Something changes the conditioning on its way; both conditionings go through it.
        {
            "3": node("KSampler", positive=["11", 0], negative=["11", 1], latent_image=["5", 0]),
            "11": node("ControlNetApplyAdvanced", positive=["6", 0], negative=["7", 0], image=["12", 0]),
            "12": node("LoadImage", image="pose.png"),
        },
        {
            "3": node("KSampler", positive=["11", 0], negative=["7", 0], latent_image=["5", 0]),
            "11": node("FluxGuidance", conditioning=["6", 0], guidance=3.5),
        },
        # Flux and its kind.
        {
            "3": node("SamplerCustomAdvanced", guider=["11", 0], latent_image=["5", 0]),
            "11": node("BasicGuider", model=["4", 0], conditioning=["6", 0]),
        },
        {
            "3": node("SamplerCustomAdvanced", guider=["11", 0], latent_image=["5", 0]),
            "11": node("CFGGuider", model=["4", 0], positive=["6", 0], negative=["7", 0]),
        },
        # A second pass over the same latent.
        {
            "8": node("VAEDecode", samples=["13", 0], vae=["4", 2]),
            "13": node("KSampler", positive=["6", 0], negative=["7", 0], latent_image=["14", 0]),
            "14": node("LatentUpscale", samples=["3", 0]),
        },
        # The same text for both encoders of SDXL.
        {"6": node("CLIPTextEncodeSDXL", text_g=POSITIVE, text_l=POSITIVE, clip=["4", 1])},
        # Different texts for the encoders of Flux: keywords, and whole sentences.
        {"6": node("CLIPTextEncodeFlux", clip_l="lighthouse", t5xxl=POSITIVE, guidance=3.5, clip=["4", 1])},
        # Two texts joined on their way.
        {
            "6": node("CLIPTextEncode", text=["10", 0], clip=["4", 1]),
            "10": node(
                "StringConcatenate", string_a="a lighthouse at dawn", string_b=["11", 0], delimiter=", "
            ),
            "11": node("PrimitiveString", value="(film grain:1.2)"),
        },
        # A switch between conditionings, of a pack that nobody has heard of.
        {
            "3": node("KSampler", positive=["11", 0], negative=["7", 0], latent_image=["5", 0]),
            "11": node("AnySwitch", any_01=["6", 0]),
        },
        # Everything inside a subgraph.
        {
            "3": node("KSampler", positive=["20:6", 0], negative=["20:7", 0], latent_image=["5", 0]),
            "20:6": node("CLIPTextEncode", text=["20:21", 0], clip=["4", 1]),
            "20:7": node("CLIPTextEncode", text=NEGATIVE, clip=["4", 1]),
            "20:21": node("PrimitiveStringMultiline", value=POSITIVE),
        },
        # A loader that hands models and texts to the sampler over one wire.
        {
            "3": node("FullKSampler", pipe=["11", 0], seed=1),
            "11": node("FullLoader", ckpt_name="a.safetensors", positive=POSITIVE, negative=NEGATIVE),
        },
        {
            "3": node("KSampler", positive=["11", 1], negative=["11", 2], latent_image=["11", 3]),
            "11": node("EfficientLoader", ckpt_name="a.safetensors", positive=POSITIVE, negative=NEGATIVE),
        },
        # A rewritten prompt: what counts is what the artist wrote.
        {
            "6": node("CLIPTextEncode", text=["17", 0], clip=["4", 1]),
            "17": node("RationalRewardsRefinePrompt", critique=["16", 0], keep=""),
            "16": node("RationalRewardsCritique", prompt=POSITIVE, image=["15", 0], critic=["18", 0]),
            "15": node("LoadImage", image="first.png"),
            "18": node("RationalRewardsLoadCritic", checkpoint="a"),
        },
        # A painter without a sampler, and a judgement beside it.
        {
            "9": node("RationalRewardsSaveWithScores", image=["15", 0], critique=["16", 0]),
            "15": node("RationalRewardsShapesPainter", prompt=POSITIVE, seed=0),
            "16": node("RationalRewardsCritique", prompt="something else", image=["15", 0]),
        },
    ],
)
def test_the_prompt_is_found_along_the_wires(tmp_path, changes):
    assert prompt_of(png(tmp_path, prompt=usual_graph(**changes))) == POSITIVE


@pytest.mark.parametrize(
    "texts",
    [
        {},
        {"prompt": "not json"},
        {"prompt": "[1, 2]"},
        {"prompt": {}},
        {"prompt": {"1": node("LoadImage", image="a.png"), "2": node("SaveImage", images=["1", 0])}},
        # Two prompts go into one image.
        {
            "prompt": usual_graph(
                **{
                    "6": node("ConditioningCombine", conditioning_1=["7", 0], conditioning_2=["10", 0]),
                    "10": node("CLIPTextEncode", text=POSITIVE),
                }
            )
        },
        # A graph that goes in a circle.
        {"prompt": {"1": node("SaveImage", images=["2", 0]), "2": node("VAEDecode", samples=["1", 0])}},
        {"prompt": usual_graph(**{"6": node("Reroute", conditioning=["6", 0])})},
        {"parameters": "some other program's remark"},
        {"rational_rewards": {"critic": "tiny"}},
    ],
)
def test_what_cannot_be_told_is_none(tmp_path, texts):
    assert prompt_of(png(tmp_path, **texts)) is None


def test_own_metadata_come_first(tmp_path):
    own = {"critic": "tiny", "prompt": "what was judged", "score": 0.5}
    assert prompt_of(png(tmp_path, rational_rewards=own, prompt=usual_graph())) == "what was judged"


def test_the_workflow_is_read_where_there_is_no_graph(tmp_path):
    workflow = {
        "nodes": [
            {"id": 6, "type": "CLIPTextEncode", "widgets_values": [POSITIVE], "inputs": []},
            {"id": 7, "type": "CLIPTextEncode", "widgets_values": [NEGATIVE], "inputs": []},
            {
                "id": 3,
                "type": "KSampler",
                "inputs": [{"name": "positive", "link": 1}, {"name": "negative", "link": 2}],
                "widgets_values": [1, "fixed", 20, 8, "euler", "normal", 1],
            },
            {"id": 9, "type": "SaveImage", "inputs": [{"name": "images", "link": 3}]},
        ],
        "links": [[1, 6, 0, 3, 1, "CONDITIONING"], [2, 7, 0, 3, 2, "CONDITIONING"], [3, 3, 0, 9, 0, "IMAGE"]],
    }
    assert prompt_of(png(tmp_path, workflow=workflow)) == POSITIVE


def test_the_workflow_s_subgraphs_are_taken_apart(tmp_path):
    """An encoder in a subgraph that is used twice; text and conditioning cross its border."""
    encoder = {
        "id": "abc",
        "nodes": [
            {
                "id": 1,
                "type": "CLIPTextEncode",
                "widgets_values": [""],
                "inputs": [{"name": "text", "link": 1}],
            }
        ],
        "links": [
            {"id": 1, "origin_id": -10, "origin_slot": 0, "target_id": 1, "target_slot": 0},
            {"id": 2, "origin_id": 1, "origin_slot": 0, "target_id": -20, "target_slot": 0},
        ],
    }
    workflow = {
        "nodes": [
            {"id": 1, "type": "PrimitiveString", "widgets_values": [POSITIVE], "inputs": []},
            {"id": 2, "type": "PrimitiveString", "widgets_values": [NEGATIVE], "inputs": []},
            {"id": 3, "type": "abc", "inputs": [{"name": "text", "link": 1}]},
            {"id": 4, "type": "abc", "inputs": [{"name": "text", "link": 2}]},
            {
                "id": 5,
                "type": "KSampler",
                "inputs": [{"name": "positive", "link": 3}, {"name": "negative", "link": 4}],
            },
            {"id": 6, "type": "SaveImage", "inputs": [{"name": "images", "link": 5}]},
        ],
        "links": [[1, 1, 0, 3, 0], [2, 2, 0, 4, 0], [3, 3, 0, 5, 0], [4, 4, 0, 5, 1], [5, 5, 0, 6, 0]],
        "definitions": {"subgraphs": [encoder]},
    }
    assert prompt_of(png(tmp_path, workflow=workflow)) == POSITIVE
    # A definition that holds itself, which no canvas makes.
    encoder["nodes"] += [{"id": number, "type": "abc", "inputs": []} for number in range(2, 9)]
    assert prompt_of(png(tmp_path, workflow=workflow)) == POSITIVE


@pytest.mark.parametrize("negative", ["", f"Negative prompt: {NEGATIVE}\n"])
def test_parameters_of_automatic1111(tmp_path, negative):
    text = f"{POSITIVE},\nsecond line\n{negative}Steps: 20, Sampler: Euler, Seed: 1"
    assert prompt_of(png(tmp_path, parameters=text)) == f"{POSITIVE},\nsecond line"


@pytest.mark.parametrize("ending", ["jpg", "webp"])
def test_exif_of_jpeg_and_webp(tmp_path, ending):
    comfyui, automatic1111 = tmp_path / f"c.{ending}", tmp_path / f"a.{ending}"
    exif = Image.Exif()
    exif[0x0110] = f"prompt:{json.dumps(usual_graph())}"
    Image.new("RGB", (32, 32)).save(comfyui, exif=exif)
    assert prompt_of(comfyui) == POSITIVE
    for order in ("utf-16-be", "utf-16-le"):
        exif = Image.Exif()
        text = f"{POSITIVE}\nNegative prompt: {NEGATIVE}\nSteps: 20"
        exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + text.encode(order)
        Image.new("RGB", (32, 32)).save(automatic1111, exif=exif)
        assert prompt_of(automatic1111) == POSITIVE


def test_a_text_file_beside_the_image_comes_last(tmp_path):
    (tmp_path / "image.txt").write_text(f"{POSITIVE}\n", encoding="utf-8")
    assert prompt_of(png(tmp_path)) == POSITIVE
    assert prompt_of(png(tmp_path, rational_rewards={"prompt": "what was judged"})) == "what was judged"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_text_file_may_hold_parameters(tmp_path, encoding):
    text = f"{POSITIVE}\nNegative prompt: {NEGATIVE}\nSteps: 20, Sampler: Euler"
    (tmp_path / "image.txt").write_text(text, encoding=encoding)
    found = find_prompt(png(tmp_path))
    assert found is not None
    assert (found.text, found.source) == (POSITIVE, "text file")


def test_each_program_is_named_as_the_source(tmp_path):
    parameters = f"{POSITIVE}\nSteps: 20"
    sources = {"this pack": {"rational_rewards": {"prompt": POSITIVE}}, "ComfyUI": {"prompt": usual_graph()}}
    for source, texts in {**sources, "parameters": {"parameters": parameters}}.items():
        found = find_prompt(png(tmp_path, **texts))
        assert found is not None
        assert (found.text, found.source) == (POSITIVE, source)


def test_parameters_that_are_json(tmp_path):
    assert prompt_of(png(tmp_path, parameters={"sui_image_params": {"prompt": POSITIVE}})) == POSITIVE
    assert prompt_of(png(tmp_path, parameters={"prompt": POSITIVE, "seed": 1})) == POSITIVE


def test_a_comment_that_starts_with_no_latin_letter(tmp_path):
    for order in ("utf-16-be", "utf-16-le"):
        exif = Image.Exif()
        text = f"灯台、夜明け\nNegative prompt: {NEGATIVE}\nSteps: 20"
        exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + text.encode(order)
        Image.new("RGB", (32, 32)).save(tmp_path / "image.jpg", exif=exif)
        assert prompt_of(tmp_path / "image.jpg") == "灯台、夜明け"


def test_a_damaged_file_and_half_an_emoji(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nxx")
    assert prompt_of(tmp_path / "bad.png") is None
    assert prompt_of(tmp_path / "missing.png") is None
    text = json.dumps(usual_graph(**{"6": node("CLIPTextEncode", text="sun \ud83d rise")}))
    assert prompt_of(png(tmp_path, prompt=text)) == "sun ? rise"
