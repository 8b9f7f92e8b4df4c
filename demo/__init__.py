"""Things to try the pack with, that need no download."""
