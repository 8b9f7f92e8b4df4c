"""Engines: who writes the tokens of an answer."""
