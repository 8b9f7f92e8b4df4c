"""Shapes Painter: images to judge, without a checkpoint."""

from __future__ import annotations

from comfy_api.latest import io

from ..models.images import pil_to_tensor
from .schema import CATEGORY, schema, seed_input


class ShapesPainter(io.ComfyNode):
    """Paints coloured shapes with Pillow, and makes mistakes on purpose."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="RationalRewardsShapesPainter",
            display_name="Shapes Painter (demo)",
            category=f"{CATEGORY}/demo",
            description="Paints one to three kinds of coloured shapes, a background and a short word, at "
            "once and without a model. It makes mistakes as "
            "generators do: what a prompt leaves open often goes wrong, what a prompt insists on rarely "
            "does.",
            search_aliases=["demo", "toy generator", "test image", "circle", "square", "triangle", "star"],
            inputs=[
                io.String.Input(
                    "prompt",
                    multiline=True,
                    default="a red star between a blue circle and a yellow square on a pink background "
                    "with the word SUN",
                    tooltip="Circles, squares, triangles and stars in red, green, blue, yellow, purple or "
                    "black; small or large; one to three of a "
                    "kind; on the left, in the middle or on the right; a white, gray, pink or cyan "
                    "background; with the word ABC.",
                ),
                seed_input(
                    "The same prompt and seed always give the same image. With the same seed, a better "
                    "prompt mends only what it names.",
                    control_after_generate=True,
                ),
                io.Int.Input(
                    "size",
                    default=128,
                    min=128,
                    max=1024,
                    step=32,
                    optional=True,
                    tooltip="Width and height in pixels. The demo critic was trained on 128.",
                ),
                io.Float.Input(
                    "flaws",
                    default=0.5,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    optional=True,
                    tooltip="How often the painter goes wrong: 0 never, 1 nearly always.",
                ),
            ],
            outputs=[io.Image.Output("image", tooltip="One image.")],
        )

    @classmethod
    def execute(cls, prompt: str, seed: int, size: int = 128, flaws: float = 0.5) -> io.NodeOutput:
        from ..demo.rounds import painted

        return io.NodeOutput(pil_to_tensor(painted(prompt, seed, size, flaws).image))
