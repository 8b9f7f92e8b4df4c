"""The demo: paint, judge, refine, paint again; the table, the page, and the painter on the canvas."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from comfyui_checkouts import chromium
from hypothesis import given
from hypothesis import strategies as st

from rational_rewards.cli.main import main
from rational_rewards.demo import rounds as demo
from rational_rewards.demo.page import STYLE, page, word_diff, write_page
from rational_rewards.demo.painter import Painting, paint
from rational_rewards.demo.prompts import parse_request
from rational_rewards.demo.scene import flaws_of, weight_of
from rational_rewards.demo.sentences import PictureCase, judgement_parts
from rational_rewards.models.critic import Critic
from rational_rewards.models.engines.base import Answer
from rational_rewards.models.errors import QuestionError, RationalRewardsError

HOSTILE = (
    'a red circle on a pink background <img src=x onerror=alert(1)> & "quoted" '
    "</style><script>alert(2)</script>"
)


class AllSeeing:
    """An engine that knows every picture painted so far, and judges it as it truly is."""

    def __init__(self, scenes):
        self.scenes = scenes
        self.batches = []

    def prepare(self, image):
        return image

    def answer(self, questions, settings, progress, earlier):
        self.batches.append(len(questions))
        cases = [
            PictureCase(parse_request(q.prompt), self.scenes[q.images["image"].tobytes()]) for q in questions
        ]
        return [Answer(case.analysis(), settings.until, judgement_parts(case)) for case in cases]


@pytest.fixture
def all_seeing(monkeypatch):
    """A critic that is always right."""
    scenes = {}

    def remembered(prompt, *where, **how):
        painting = paint(prompt, *where, **how)
        scenes[painting.image.tobytes()] = painting.scene
        return painting

    monkeypatch.setattr(demo, "paint", remembered)
    return Critic(AllSeeing(scenes), "all-seeing")


@pytest.fixture
def blind(make_critic):
    """A critic with random weights, which writes anything."""
    return make_critic()


# ---------------------------------------------------------------- the rounds


def test_a_critic_that_sees_mends_the_pictures(all_seeing):
    rounds = [one for seed in range(0, 64, 8) for one in demo.play(all_seeing, demo.PROMPTS, seed)]
    (score, flaws), (score_after, flaws_after) = demo.totals(rounds)
    assert flaws > 40, "there is something to mend"
    assert flaws_after < flaws / 2
    assert score_after > score
    for one in rounds:
        assert weight_of(one.second.flaws) <= weight_of(one.first.flaws), one.prompt
        assert (one.refined_prompt != one.prompt) == bool(one.first.flaws)
        assert one.agreement[0] == one.agreement[1]


def test_all_pictures_of_a_turn_are_judged_in_one_batch(all_seeing):
    demo.play(all_seeing, demo.PROMPTS, 0)
    first, second = all_seeing.engine.batches
    assert first == len(demo.PROMPTS)
    assert 0 < second < first, (
        "a picture whose prompt was left alone is the same again, and its answer is remembered"
    )


def test_both_pictures_of_a_prompt_have_the_seed_of_that_prompt(all_seeing):
    for number, one in enumerate(demo.play(all_seeing, demo.PROMPTS, 40), 40):
        assert one.seed == number
        assert one.first.image.tobytes() == paint(one.prompt, number).image.tobytes()
        assert one.second.image.tobytes() == paint(one.refined_prompt, number).image.tobytes()


def test_a_critic_that_sees_nothing_gets_an_honest_truth(blind):
    """A model with random weights writes any prompt; the truth is still told by the first one."""
    prompts = demo.PROMPTS[:2]
    for one in demo.play(blind, prompts, 0):
        assert one.first.judgement.complete
        assert one.second.judgement.complete
        request = parse_request(one.prompt)
        painting = paint(one.refined_prompt, one.seed)
        if not painting.request.wishes:
            assert [flaw.kind for flaw in one.second.flaws if flaw.where >= 0] == ["missing"] * len(
                request.wishes
            )
        assert one.agreement[0] <= one.agreement[1]
        assert demo.table([one])


@pytest.mark.parametrize(
    ("rewritten", "kinds"),
    [
        ("a blue square on the right and a red circle on the left", []),
        ("a blue square on the right", ["missing"]),
        ("a red star on the left and a blue square on the right", ["shape"]),
        ("a green star on the left", ["colour", "shape", "missing"]),
        ("nothing at all", ["missing", "missing"]),
    ],
)
def test_a_rewritten_prompt_is_held_against_the_first_one(rewritten, kinds):
    request = parse_request("a red circle on the left and a blue square on the right")
    scene = demo.aligned(request, paint(rewritten, 0, flaws=0))
    assert [flaw.kind for flaw in flaws_of(request, scene)] == kinds


def test_the_prompts_of_the_demo_are_of_all_kinds_and_are_understood():
    requests = [parse_request(prompt) for prompt in demo.PROMPTS]
    assert {len(request.wishes) for request in requests} == {1, 2, 3}
    assert any(request.word for request in requests)
    assert any(request.background for request in requests)
    wishes = [wish for request in requests for wish in request.wishes]
    assert {wish.count for wish in wishes} == {1, 2, 3}
    assert {wish.size for wish in wishes} == {"", "small", "large"}
    assert {wish.place for wish in wishes} == {"", "left", "middle", "right"}


# ---------------------------------------------------------------- the painter on the canvas


@pytest.mark.parametrize("size", [128, 160, 512])
def test_the_painter_paints_what_is_asked_at_any_size(size):
    painting = demo.painted("a red star on a pink background", 3, size, 0.0)
    assert isinstance(painting, Painting)
    assert painting.image.size == (size, size)
    assert painting.image.mode == "RGB"
    assert not flaws_of(painting.request, painting.scene)
    assert np.array_equal(painting.image, demo.painted("a red star on a pink background", 3, size, 0.0).image)
    assert not np.array_equal(
        painting.image, demo.painted("a red star on a pink background", 4, size, 0.0).image
    )


@pytest.mark.parametrize("prompt", ["", "a cat on a sofa", "an orange hexagon"])
def test_a_prompt_the_painter_does_not_understand_is_refused(prompt):
    with pytest.raises(QuestionError, match="coloured shapes"):
        demo.painted(prompt, 0)


@pytest.mark.parametrize("prompt", ["the word SUN", "a pink background"])
def test_a_word_or_a_background_is_enough(prompt):
    painting = demo.painted(prompt, 0, flaws=0.0)
    assert painting.scene.things == ()
    assert painting.scene.word == "SUN" or painting.scene.background == "pink"


# ---------------------------------------------------------------- the page


class Tags(HTMLParser):
    """All tags of a page with their attributes, and its text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def played(all_seeing):
    return demo.play(all_seeing, [*demo.PROMPTS, HOSTILE], 0)


def hostile(one):
    """The same round with hostile words wherever a critic writes."""
    judgement = replace(one.first.judgement, summary=HOSTILE, notes=[HOSTILE])
    judgement.dimensions = {
        key: replace(found, name=HOSTILE, justification=HOSTILE)
        for key, found in judgement.dimensions.items()
    }
    look = replace(one.first, judgement=judgement)
    return replace(one, first=look, second=look, refined_prompt=f"new {HOSTILE}")


def test_the_page_holds_everything_itself_and_runs_nothing(played):
    html = page([*played, hostile(played[-1])], HOSTILE, {HOSTILE: HOSTILE})
    found = Tags(html)
    assert not {tag for tag, _ in found.tags} & {"script", "link", "iframe", "object", "form"}
    assert not [name for _, attributes in found.tags for name in attributes if name.startswith("on")]
    images = [attributes for tag, attributes in found.tags if tag == "img"]
    assert all(
        attributes["src"].startswith("data:image/png;base64,") and attributes["alt"] for attributes in images
    )
    assert "url(" not in html
    assert "@import" not in html
    assert found.text.count("alert(1)") > 10, "hostile words are shown as words"


def test_the_page_shows_scores_reasons_the_new_prompt_and_the_truth(played):
    text = " ".join(Tags(page(played, "Shapes", {"Critic": "tiny"})).text.split())
    for one in played:
        assert one.first.judgement.summary in text
        for found in one.first.judgement.dimensions.values():
            assert found.justification in text
    assert text.count("The truth:") == len(played) + sum(one.prompt != one.refined_prompt for one in played)
    assert "N/A" in text


def test_a_page_that_cannot_be_written_leaves_nothing_behind(played, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(RationalRewardsError, match="choose another file"):
        write_page(played[:1], tmp_path / "taken", "Shapes", {})
    with pytest.raises(RationalRewardsError, match="choose another file"):
        write_page(played[:1], tmp_path / "file" / "demo.html", "Shapes", {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "taken"]


def test_a_folder_is_made_for_the_page(played, tmp_path):
    page_file = write_page(played[:1], tmp_path / "new" / "deep" / "demo.html", "Shapes", {})
    assert [path.name for path in page_file.parent.iterdir()] == ["demo.html"]


WORDS = st.lists(st.sampled_from(["a", "red", "circle", "exactly", "one", ",", "S-U-N"]), max_size=12).map(
    " ".join
)


@given(WORDS, WORDS)
def test_a_word_diff_holds_both_prompts(before, after):
    def words(text):
        return re.findall(r"[\w-]+|[^\w\s]", text)

    diff = word_diff(before, after)
    assert words(" ".join(text for kind, text in diff if kind != "new")) == words(before)
    assert words(" ".join(text for kind, text in diff if kind != "gone")) == words(after)
    assert before != after or all(kind == "same" for kind, _ in diff)


def contrast(one, other):
    """Contrast of two "#rrggbb" colours, 1..21, as WCAG counts it."""

    def light(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    bright, dark = sorted((light(one), light(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_words_and_bars_can_be_read_in_light_and_in_dark():
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#\w{6})", block))
        for block in STYLE.read_text().split("prefers-color-scheme")[:2]
    )
    assert light.keys() == dark.keys()
    for colours in (light, dark):
        for back in ("paper", "sheet"):
            assert min(contrast(colours[name], colours[back]) for name in ("ink", "muted", "link")) >= 4.5
            assert min(contrast(colours[f"level-{level}"], colours[back]) for level in (1, 2, 3, 4)) >= 3
        assert contrast(colours["new"], colours["new-back"]) >= 4.5
        assert contrast(colours["gone"], colours["gone-back"]) >= 4.5


@pytest.mark.skipif(chromium() is None, reason="no Chromium found (set CHROMIUM to one)")
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (375, "dark")])
def test_the_page_fits_a_phone_and_a_desktop(played, tmp_path, width, scheme):
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="Playwright is missing: `make setup` installs it"
    )
    target = write_page([*played, hostile(played[-1])], tmp_path / "demo.html", HOSTILE, {"Critic": "tiny"})
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(
            executable_path=str(chromium()), args=["--no-sandbox", "--disable-gpu"]
        )
        tab = opened.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        wrong = []
        tab.on("dialog", lambda dialog: wrong.append(dialog.message))
        tab.on("console", lambda message: wrong.append(message.text))
        tab.on(
            "request",
            lambda request: (
                wrong.append(request.url) if not request.url.startswith(("file:", "data:")) else None
            ),
        )
        tab.goto(target.as_uri())
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
        assert wrong == []
        opened.close()


# ---------------------------------------------------------------- the shell


def test_the_command_prints_a_table_and_writes_the_page(blind, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "embedded_critic", lambda: blind)
    assert main(["demo", "--seed", "5", "--prompt", "a red circle", "--prompt", "two blue stars"]) == 0
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert re.match(r"a red circle +\d\.\d\d -> \d\.\d\d .* \d -> \d$", lines[1])
    assert lines[2].startswith("two blue stars")
    assert "seeds 5 to 6" in printed
    assert "million parameters" in printed
    assert str(tmp_path / "demo.html") in lines[-1]
    assert "two blue stars" in (tmp_path / "demo.html").read_text(encoding="utf-8")


def test_without_its_critic_the_command_says_so_in_one_sentence(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "EMBEDDED", tmp_path / "nothing")
    assert main(["demo"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert "parrot demo" in printed.err
    assert not list(tmp_path.iterdir())


def test_the_command_refuses_a_prompt_that_asks_for_nothing(blind, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "embedded_critic", lambda: blind)
    assert main(["demo", "--prompt", "a cat"]) == 1
    assert "coloured shapes" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
