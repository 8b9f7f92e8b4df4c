"""A session reads once and goes on from there, with the same tokens as transformers' own `generate`."""

from __future__ import annotations

import pytest
import torch
from reference import reference_tokens

from rational_rewards.models.engines.session import Session
from rational_rewards.models.question import Question
from rational_rewards.models.rubrics.rubric import rubric_for

FAMILIES = ["qwen3_vl", "qwen2_5_vl"]


@pytest.fixture(params=FAMILIES)
def engine(request, make_critic):
    return make_critic(request.param).engine


def read(engine, image, prompt="a photo"):
    """Input tensors of one question."""
    return engine.encoder.encode(Question(rubric_for("t2i", False), prompt, {"image": engine.prepare(image)}))


def greedy(session, count):
    """`count` greedy tokens of every row."""
    rows = [[] for _ in range(session.rows)]
    for _ in range(count):
        tokens = session.logits.argmax(-1).tolist()
        for row, token in zip(rows, tokens, strict=True):
            row.append(token)
        session.feed([[token] for token in tokens])
    return rows


def generate(engine, inputs, count):
    """The same by transformers."""
    return reference_tokens(engine.model, inputs, max_new_tokens=count, min_new_tokens=count)


@pytest.fixture
def stopless(engine, monkeypatch):
    """The model without a token that ends its turn, so that all rows write equally long."""
    monkeypatch.setattr(engine.model.generation_config, "eos_token_id", None)


@pytest.mark.usefixtures("stopless")
def test_one_row_and_a_batch_of_different_sizes_equal_generate(engine, photos):
    questions = [read(engine, photo, "a photo " * (i + 1)) for i, photo in enumerate(photos[:3])]
    wanted = [generate(engine, inputs, 16) for inputs in questions]
    assert [greedy(Session.prefill(engine.model, inputs), 16)[0] for inputs in questions] == wanted
    batch = Session.join([Session.prefill(engine.model, inputs) for inputs in questions])
    start = batch.mark()
    assert greedy(batch, 16) == wanted
    batch.rewind(start)
    assert greedy(batch, 16) == wanted


@pytest.mark.usefixtures("stopless")
def test_another_image_in_between_changes_nothing(engine, photos):
    one, other = read(engine, photos[0]), read(engine, photos[3])
    wanted = generate(engine, one, 12)
    session = Session.prefill(engine.model, one)
    first = greedy(session, 6)[0]
    greedy(Session.prefill(engine.model, other), 6)
    generate(engine, other, 2)
    assert first + greedy(session, 6)[0] == wanted


@pytest.mark.usefixtures("stopless")
def test_rows_may_be_fed_different_numbers_of_tokens(engine, photos):
    questions = [read(engine, photo) for photo in photos[:3]]
    wanted = [generate(engine, inputs, 16) for inputs in questions]
    batch = Session.join([Session.prefill(engine.model, inputs) for inputs in questions])
    start = batch.mark()
    batch.feed([wanted[0][:5], wanted[1][:1], []])
    batch.feed([[], wanted[1][1:3], wanted[2][:4]])
    assert (batch.mask.diff(dim=1) >= 0).all(), "only left padding, no holes"
    alone = greedy(batch.select([1]), 6)[0]
    assert alone == wanted[1][3:9]
    rows = greedy(batch, 6)
    assert rows == [wanted[0][5:11], wanted[1][3:9], wanted[2][4:10]]
    batch.rewind(start)
    assert greedy(batch, 8) == [tokens[:8] for tokens in wanted]


@pytest.mark.usefixtures("stopless")
def test_a_fork_goes_its_own_way(engine, photos):
    session = Session.prefill(engine.model, read(engine, photos[0]))
    forked = session.fork(2)
    forked.feed([[5], [9]])
    greedy(forked, 4)
    assert greedy(session, 8)[0] == generate(engine, read(engine, photos[0]), 8)


def test_a_probe_equals_feeding_every_branch_alone(engine, photos):
    session = Session.prefill(engine.model, read(engine, photos[0]))
    before = session.logits.clone()
    branches = [(-1, [5, 6, 7]), (0, [8, 9]), (0, [10]), (-1, [11])]
    found = session.probe(branches)

    def alone(ids):
        fork, logits = session.fork(1), []
        for token in ids:
            fork.feed([[token]])
            logits.append(fork.logits[0])
        return torch.stack(logits)

    for logits, path, tail in zip(
        found, [[5, 6, 7], [5, 6, 7, 8, 9], [5, 6, 7, 10], [11]], [3, 2, 1, 1], strict=True
    ):
        torch.testing.assert_close(logits, alone(path)[-tail:], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(session.logits, before)
    with pytest.raises(ValueError, match="one row"):
        session.fork(2).probe(branches)
