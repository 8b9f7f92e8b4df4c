"""The shapes world: a world of coloured shapes that is known exactly, a painter with bad habits, and a tiny
critic that is trained on it.

Read it in this order: `scene` (what there is and what a flaw is), `prompts` (words for it), `render` and
`painter` (images of it), `edits`, `sentences` and `flaw_reader` (judgements of it, written and read),
`preference_pairs`, `oracle` (an imperfect teacher), `base` and `train` (the embedded critic), `measure` (how
good it is), `rounds` and `page` (`make demo`). `checkpoint` builds small random models.
"""
