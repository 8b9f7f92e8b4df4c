"""An image and a prompt are read once, and an image is encoded once, however many questions are asked; the
answers are the same as without.
"""

from __future__ import annotations

import pytest

from rational_rewards.models.engines import transformers_engine
from rational_rewards.models.engines.base import Progress, SamplingParams
from rational_rewards.models.engines.session import Session
from rational_rewards.models.engines.vision import SeenImages, encode_image

FAMILIES = ["qwen3_vl", "qwen2_5_vl"]
SHORT = dict(max_new_tokens=64)


@pytest.fixture
def work(monkeypatch):
    """What is done from here on: "resized", "encoded" and "read", one entry each."""
    done = []

    def noted(name, real):
        return lambda *args, **options: done.append(name) or real(*args, **options)

    for name, function in (("resized", "fit"), ("encoded", "encode_image")):
        real = getattr(transformers_engine, function)
        monkeypatch.setattr(transformers_engine, function, noted(name, real))
    read = noted("read", Session.prefill.__func__)
    monkeypatch.setattr(Session, "prefill", classmethod(read))
    return done


@pytest.fixture
def steps(monkeypatch):
    """Rows of every step."""
    rows, feed = [], Session.feed
    monkeypatch.setattr(Session, "feed", lambda self, tokens: rows.append(self.rows) or feed(self, tokens))
    return rows


def counts(work):
    return {name: work.count(name) for name in ("resized", "encoded", "read")}


def test_separate_nodes_read_an_image_and_its_prompt_once(make_critic, photos, work):
    """Every node makes its images anew from the same tensor."""
    critic = make_critic()
    critique = critic.critique(photos[0].copy(), "a photo", **SHORT)
    critic.score(photos[0].copy(), "a photo", **SHORT)
    critic.fast_score(photos[0].copy(), "a photo")
    critique.refined()
    critic.critique(photos[0].copy(), "a photo", temperature=0.7, seed=1, **SHORT)
    assert counts(work) == {"resized": 1, "encoded": 1, "read": 1}


def test_every_round_of_a_loop_reads_its_own_image_and_nothing_else(make_critic, photos, work):
    """A round scores against the prompt as written and rewrites the one that made the image: one image, two
    questions.
    """
    critic, prompt = make_critic(), "a photo"
    for number in range(4):
        work.clear()
        scored = critic.critique(photos[number], "a photo", **SHORT)
        critic.score(photos[number].copy(), "a photo", **SHORT)
        scored.refined()
        if number:
            critic.critique(photos[number].copy(), prompt, until="refinement", **SHORT)
        assert counts(work) == {"resized": 1, "encoded": 1, "read": 2 if number else 1}
        prompt = f"a photo, round {number}"


def test_both_orders_are_one_batch_that_encodes_each_image_once(make_critic, photos, work, steps):
    critic = make_critic()
    critic.compare(photos[0], photos[1], "a photo", **SHORT)
    assert counts(work) == {"resized": 2, "encoded": 2, "read": 2}
    # Each row opens alone, with nothing of its answer written yet.
    assert set(steps[2:]) == {2}
    work.clear()
    critic.critique(photos[:2], "a photo", **SHORT)
    critic.compare(photos[1], photos[2], "a photo", **SHORT)
    assert work.count("encoded") == 1, "the one image that is new"


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("source", [False, True])
def test_answers_are_the_same_with_and_without_what_is_kept(family, source, make_critic, photos):
    """To the last bit: an image is encoded alone, whatever stands beside it."""
    kept, forgetful = make_critic(family), make_critic(family, kept_bytes=0)
    forgetful.engine.seen = SeenImages(0)
    sources = photos[1] if source else None
    for ask in (
        lambda critic: critic.compare(photos[0], photos[1], "a photo", sources, **SHORT),
        lambda critic: critic.critique(photos[0], "a photo", sources, **SHORT).judgements,
        lambda critic: critic.critique(photos[0], "another photo", sources, **SHORT).judgements,
        lambda critic: critic.fast_score(photos[0], "a photo", sources),
    ):
        assert ask(kept) == ask(forgetful)
    assert not forgetful.engine.seen.kept


def test_what_is_kept_of_images_is_bounded(make_critic, photos):
    engine = make_critic().engine
    images = [engine.prepare(photo) for photo in photos[:4]]
    one = engine._see(images[0])
    seen = SeenImages(2 * one.nbytes)
    for image in images:
        seen.get(image, engine._see)
    assert sum(features.nbytes for features in seen.kept.values()) <= 2 * one.nbytes
    again = seen.get(images[-1], lambda image: pytest.fail("it was seen"))
    assert again.embeddings.equal(engine._see(images[-1]).embeddings)


def test_a_finished_answer_leaves_the_batch(make_critic, photos, steps):
    """A text-to-image answer has a dimension less than one to an edit, and does not wait for it."""
    critic = make_critic()
    short = critic.questions({"image": photos[:3]}, "a photo")
    (long,) = critic.questions({"image": photos[3]}, "a photo", photos[0])
    sampling = SamplingParams(max_new_tokens=200)
    together = critic.engine.answer([*short, long], sampling, Progress())
    # Each row opens alone, with nothing of its answer written yet.
    written = steps[4:]
    assert written.count(4) > written.count(1) > 4
    assert written == sorted(written, reverse=True)
    for question, answer in zip([*short, long], together, strict=True):
        (alone,) = make_critic().engine.answer([question], sampling, Progress())
        assert answer.text == alone.text


def test_features_equal_those_of_the_model_itself(make_critic, photos):
    """The tower's own answer for two images at once, cut in two."""
    for family in FAMILIES:
        engine = make_critic(family).engine
        images = [engine.prepare(photo) for photo in photos[:2]]
        both = engine.encoder.pixels(images)
        whole = encode_image(engine.model, both["pixel_values"], both["image_grid_thw"])
        parts = [engine._see(image) for image in images]
        cut = whole.embeddings.split([len(part.embeddings) for part in parts])
        for part, wanted in zip(parts, cut, strict=True):
            assert part.embeddings.shape == wanted.shape
            assert (part.embeddings - wanted).abs().max() < 1e-5
        assert len(whole.deepstack) == (1 if family == "qwen3_vl" else 0)
