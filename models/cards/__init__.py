"""Critique Cards: layout, text and fonts."""
