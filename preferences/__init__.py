"""Preferences: pairs of images of which somebody preferred one, the dataset that records them, and Parquet
files in and out.
"""
