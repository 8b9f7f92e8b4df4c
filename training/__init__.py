"""Supervised fine-tuning of a critic: full weights for a tiny one, adapters for a large one."""
