"""Checkpoints: finding them on disk, downloading, quantizing, loading, and the adapters trained on top of
them.
"""
