"""Rewritten prompts: what the artist wrote as syntax survives in them."""
