"""The critic as a reward for trainers of image generators: one core, and one thin adapter a trainer.

The core is `CriticReward` (one image at a time), `GroupReward` (the images of one prompt against each other)
and `group_advantages`. Adapters stand in modules named after their trainers and are imported from there:
`flow_grpo`, `diffusion_nft`, `flow_factory`, `verl_omni`, `trl`, `ms_swift`. None of them needs its trainer
to be imported. `docs/training.md` says where each one goes.
"""

from __future__ import annotations

from ..models.errors import RewardError
from .groups import GroupReward, group_advantages
from .reward import CriticReward, Reward

__all__ = ["CriticReward", "GroupReward", "Reward", "RewardError", "group_advantages"]
