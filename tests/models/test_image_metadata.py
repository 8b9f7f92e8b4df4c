"""The prompt that an image was made from, out of the metadata that each program writes."""

from __future__ import annotations

import json

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from rational_rewards.models.image_metadata import prompt_of

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


def test_a_damaged_file_and_half_an_emoji(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nxx")
    assert prompt_of(tmp_path / "bad.png") is None
    assert prompt_of(tmp_path / "missing.png") is None
    text = json.dumps(usual_graph(**{"6": node("CLIPTextEncode", text="sun \ud83d rise")}))
    assert prompt_of(png(tmp_path, prompt=text)) == "sun ? rise"
