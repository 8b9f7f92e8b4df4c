"""Workflows as ComfyUI's API takes them."""

from __future__ import annotations

NODES = {
    "RationalRewardsLoadCritic": ["RR_CRITIC"],
    "RationalRewardsCritique": ["RR_CRITIQUE", "FLOAT", "STRING"],
    "RationalRewardsScore": ["FLOAT"] * 6,
    "RationalRewardsCompare": ["IMAGE", "INT", "FLOAT", "STRING", "RR_COMPARISON"],
    "RationalRewardsBestOf": ["IMAGE", "INT", "FLOAT", "STRING", "IMAGE"],
    "RationalRewardsRefinePrompt": ["STRING", "STRING", "BOOLEAN"],
    "RationalRewardsCritiqueCard": ["IMAGE"],
    "RationalRewardsSaveWithScores": ["IMAGE"],
    "RationalRewardsLoopStart": ["RR_LOOP", "STRING", "INT", "INT"],
    "RationalRewardsLoopEnd": ["IMAGE", "STRING", "FLOAT", "IMAGE", "STRING", "RR_CRITIQUE"],
    "RationalRewardsRecordPreference": ["INT", "STRING"],
    "RationalRewardsRationalize": ["STRING", "STRING", "FLOAT"],
    "RationalRewardsTrainAdapter": ["STRING", "STRING", "IMAGE"],
    "RationalRewardsEvaluateCritic": ["FLOAT", "STRING", "IMAGE"],
    "RationalRewardsLoadFolder": ["IMAGE", "STRING", "STRING", "COMBO"],
    "RationalRewardsRank": ["IMAGE", "STRING", "FLOAT", "STRING", "STRING"],
    "RationalRewardsShapesPainter": ["IMAGE"],
    "RationalRewardsLoadShapesGenerator": ["MODEL", "CLIP", "VAE"],
    "RationalRewardsTrainGenerator": ["STRING", "STRING", "IMAGE", "IMAGE"],
}


def graph(**nodes):
    """An API workflow: `name=("Class", {inputs})`."""
    return {name: {"class_type": kind, "inputs": inputs} for name, (kind, inputs) in nodes.items()}


SHORT = {"prompt": "a photo of an astronaut", "max_new_tokens": 64}
CRITIC = (
    "RationalRewardsLoadCritic",
    {"checkpoint": "tiny critic", "quantization": "nf4", "max_pixels": 32 * 32 * 16},
)
IMAGE = ("LoadImage", {"image": "a.png"})


def critique(image="image", **more):
    return ("RationalRewardsCritique", {"critic": ["critic", 0], "image": [image, 0], **SHORT, **more})


DEMO = ("RationalRewardsLoadCritic", {"checkpoint": "shapes demo (CPU)", "quantization": "none"})


def saved_with_scores(image="image"):
    inputs = {"image": [image, 0], "critique": ["critique", 0], "filename_prefix": "odd"}
    return ("RationalRewardsSaveWithScores", inputs)
