"""PARROT, Preference-Anchored Rationalization (arXiv 2604.11626, section 2): preference pairs become
rationales, rationales that hold up become training rows, and rows become a critic with that taste. Runs
without ComfyUI; knows nothing of the shapes world.
"""
