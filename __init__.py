"""RationalRewards for ComfyUI: a critic that explains, scores, compares, and rewrites the prompt.

ComfyUI asks `comfy_entrypoint` for the nodes and serves `web/` to its page. Without ComfyUI the same things
are `from rational_rewards import Critic`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .models.critic import Critic
    from .models.judgement import Comparison, Judgement

WEB_DIRECTORY = "./web"
__all__ = ["WEB_DIRECTORY", "Comparison", "Critic", "Judgement", "comfy_entrypoint"]


async def comfy_entrypoint() -> Any:
    """ComfyUI's door: the extension with the pack's nodes."""
    from .nodes import RationalRewardsExtension

    return RationalRewardsExtension()


def __getattr__(name: str) -> Any:
    # Looked up late, so that importing the pack loads nothing heavy.
    if name == "Critic":
        from .models.critic import Critic

        return Critic
    if name in ("Judgement", "Comparison"):
        from .models import judgement

        return getattr(judgement, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
