"""A critic that has lost the thread gives no score: the locked format makes it write some number, and that is
none.
"""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from rational_rewards.models.answering import SHORTENED, UNMEANT
from rational_rewards.models.checkpoints.discovery import EMBEDDED_NAME
from rational_rewards.models.critic import Critic
from rational_rewards.models.engines.decoding import LEAST_LIKELY, likelihood
from rational_rewards.models.engines.encoding import longest_context
from rational_rewards.models.errors import QuestionError
from rational_rewards.models.judgement import Comparison, Judgement

RED = Image.new("RGB", (128, 128), "red")
BLUE = Image.new("RGB", (128, 128), "blue")


@pytest.fixture(scope="module")
def embedded() -> Critic:
    """The critic of the shapes demo."""
    return Critic.load(EMBEDDED_NAME)


@pytest.mark.parametrize("prompt", ["a" * 60, "a" * 400, "a red circle left of a blue square. " * 8])
def test_noise_behind_a_prompt_unlike_any_in_training_is_no_score(embedded, prompt):
    judgement = embedded.critique(RED, prompt).judgements[0]
    assert judgement.score is None
    assert not judgement.complete
    assert judgement.notes == [UNMEANT]
    assert Judgement.parse(judgement.raw).score is None, "nor is it read from the text later"
    assert embedded.score(RED, prompt) == [None]


def test_noise_compares_nothing(embedded):
    comparison = embedded.compare(RED, BLUE, "a" * 400)[0]
    assert (comparison.winner, comparison.complete) == (None, False)
    assert UNMEANT in comparison.notes
    assert Comparison.parse(comparison.raw).winner is None


def test_in_a_batch_only_the_lost_one_has_no_score(embedded):
    good, lost = embedded.critique([RED, BLUE], ["two small black stars", "a" * 400]).judgements
    assert good.complete
    assert good.notes == []
    assert lost.score is None
    assert lost.notes == [UNMEANT]


def test_a_refinement_asked_for_later_says_it_too(embedded):
    critique = embedded.critique(RED, "a" * 400)
    assert critique.refined()[0].score is None


def test_a_prompt_that_does_not_fit_is_refused_before_anything_is_read(embedded):
    for ask in (
        lambda: embedded.critique(RED, "a" * 20_000),
        lambda: embedded.critique([BLUE, RED], ["a red circle", "a" * 20_000]),
        lambda: embedded.compare(RED, BLUE, "a" * 20_000),
    ):
        with pytest.raises(
            QuestionError, match=r"the prompt alone 20,000.*made to read 4,096: shorten the p"
        ):
            ask()


def test_what_takes_the_most_room_is_named(make_critic, photos):
    critic = make_critic(max_pixels=802_816)
    length = critic.engine.encoder.length(critic.questions({"image": photos[0]}, "a photo")[0])
    critic.engine.encoder.longest = length
    with pytest.raises(QuestionError, match="lower max_pixels on Load Critic"):
        critic.critique(photos[0], "a photo", max_new_tokens=64)
    with pytest.raises(QuestionError, match="lower max_new_tokens"):
        critic.critique(photos[0], "a photo", max_new_tokens=2048)
    with pytest.raises(QuestionError, match="lower max_pixels on Load Critic"):
        critic.fast_score(photos[0], "a photo")
    critic.engine.encoder.longest = length + 64
    assert critic.critique(photos[0], "a photo", max_new_tokens=64).judgements[0].complete


def test_a_stretched_context_counts(make_critic, monkeypatch):
    config = make_critic().engine.model.config
    text = config.get_text_config()
    assert longest_context(config) == 32768
    name = "rope_parameters" if hasattr(text, "rope_parameters") else "rope_scaling"
    stretched = {**getattr(text, name), "factor": 4.0, "original_max_position_embeddings": 32768}
    monkeypatch.setattr(text, name, stretched)
    assert longest_context(config) == 131072


def fast_score_sure_of(critic, text, monkeypatch):
    """The fast score of a model that is sure of one token, wherever it is asked."""
    token = critic.engine.vocabulary.encode(text)[0]
    monkeypatch.setattr(
        "rational_rewards.models.engines.session._logits",
        lambda model, hidden: torch.nn.functional.one_hot(torch.tensor([token] * len(hidden)), 2048) * 30.0,
    )
    return critic.fast_score(RED, "a photo")[0]


def test_a_fast_score_where_the_model_wants_no_digit_is_none(make_critic, monkeypatch):
    lost = fast_score_sure_of(make_critic(), "m", monkeypatch)
    assert lost.score is None
    assert not lost.complete
    assert UNMEANT in lost.notes
    assert fast_score_sure_of(make_critic(), "3", monkeypatch).mean == pytest.approx(3.0, abs=1.0)


def test_what_speaks_against_a_number_is_what_goes_on_with_it(make_critic):
    """A bracket, a blank line or the end of the turn ends a number as well as a line end does."""
    vocabulary = make_critic().engine.vocabulary

    def sure_of(token):
        logits = torch.zeros(2048)
        logits[token] = 30.0
        return logits.log_softmax(-1)

    def token(text):
        return vocabulary.encode(text)[0]

    digits = [token(d) for d in "1234"]
    may_end = [token("\n"), token(".")]
    assert likelihood(sure_of(token("3")), digits, vocabulary) == 1
    assert likelihood(torch.zeros(2048).log_softmax(-1), digits, vocabulary) == 1
    assert likelihood(sure_of(token("x")), digits, vocabulary) < LEAST_LIKELY
    assert likelihood(sure_of(token("/")), digits, vocabulary) < LEAST_LIKELY
    for end in (token("/"), token("("), min(vocabulary.stop_ids)):
        assert likelihood(sure_of(end), may_end, vocabulary) == 1
    assert likelihood(sure_of(token("1")), may_end, vocabulary) < LEAST_LIKELY


def test_reasons_that_a_small_limit_cuts_short_are_not_passed_off_as_the_judgement(embedded):
    prompt = "a red circle and a blue square"
    short = embedded.critique(RED, prompt, max_new_tokens=64).judgements[0]
    assert SHORTENED in short.notes
    assert SHORTENED in short.to_markdown()
    assert SHORTENED not in embedded.critique(RED, prompt).judgements[0].notes
