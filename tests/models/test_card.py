"""The Critique Card: an image to share, with its scores and what the critic says."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from card_samples import GREY, blank, judged, pixels
from PIL import Image

from rational_rewards.models.cards import fonts, layout, typesetting
from rational_rewards.models.cards.layout import draw_card, draw_cards
from rational_rewards.models.cards.typesetting import Style, measure, wrap
from rational_rewards.models.errors import QuestionError
from rational_rewards.models.judgement import Dimension, Judgement

PROMPT = "a woman with a (red scarf:1.3) and three dogs in front of a wooden door"


# The image and the size


@pytest.mark.parametrize("size", [512, 1024, 2048])
def test_a_card_has_the_width_that_was_asked_for(size: int) -> None:
    drawn = draw_card(blank(), judged(3.5, 2.0), PROMPT, size)
    assert drawn.mode == "RGB"
    assert drawn.width == size


def test_without_a_size_the_image_decides() -> None:
    widths = [draw_card(blank(width, 100), judged(3.0), PROMPT).width for width in (64, 768, 4000)]
    assert widths == [512, 768, 2048]
    assert draw_card(blank(), judged(3.0), PROMPT, 10).width == 512
    assert draw_card(blank(), judged(3.0), PROMPT, 100_000).width == 2048


@pytest.mark.parametrize(
    ("width", "height"),
    [(64, 64), (832, 1216), (1216, 832), (80, 640), (640, 80), (8, 1), (1, 8), (8000, 1000), (1000, 8000)],
)
def test_the_image_is_not_cropped_and_keeps_its_ratio(width: int, height: int) -> None:
    drawn = draw_card(blank(width, height), judged(4.0), PROMPT, 1024)
    rows, columns = np.nonzero((np.asarray(drawn) == GREY).all(axis=-1))
    shown_width, shown_height = int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1
    assert shown_width * shown_height == len(rows), "no text stands on it"
    assert shown_width / shown_height == pytest.approx(width / height, rel=0.02)
    assert max(shown_width, shown_height) >= 400


@pytest.mark.parametrize(("width", "height"), [(1, 1), (8000, 8000), (1, 8000), (8000, 1)])
def test_extreme_images_are_drawn(width: int, height: int) -> None:
    drawn = draw_card(blank(width, height), judged(3.0), PROMPT)
    assert 512 <= drawn.width <= 2048
    assert drawn.height < 4 * drawn.width


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I", "I;16", "F"])
def test_every_image_mode_is_drawn(mode: str) -> None:
    assert draw_card(Image.new(mode, (40, 30)), judged(3.0), PROMPT).mode == "RGB"


def test_transparent_pixels_are_paper_and_deep_ones_are_not_cut() -> None:
    clear = draw_card(Image.new("RGBA", (64, 64), (255, 0, 0, 0)), judged(3.0), PROMPT)
    assert clear.getpixel((100, 100)) == layout.PAPER
    deep = Image.fromarray(np.full((64, 64), 32768, np.uint16))
    deep.putpixel((63, 63), 65535)
    assert draw_card(deep, judged(3.0), PROMPT).getpixel((100, 100)) == (128, 128, 128)


# The scores


@pytest.mark.parametrize(
    ("score", "level"), [(1.0, 1), (1.4, 1), (2.0, 2), (2.6, 3), (3.0, 3), (3.6, 4), (4.0, 4)]
)
def test_a_bar_is_as_long_and_as_coloured_as_its_score(score: float, level: int) -> None:
    drawn = draw_card(blank(), judged(score), PROMPT, 1024)
    full = pixels(draw_card(blank(), judged(4.0), PROMPT, 1024), layout.LEVELS[4])
    assert pixels(drawn, layout.LEVELS[level]) == pytest.approx(full * score / 4, rel=0.02)
    assert not any(pixels(drawn, layout.LEVELS[other]) for other in layout.LEVELS if other != level)


def test_the_number_stands_beside_its_bar() -> None:
    one, other = (draw_card(blank(), judged(score, 2.0), PROMPT, 1024) for score in (3.1, 3.4))
    differing = np.nonzero((np.asarray(one) != np.asarray(other)).any(axis=-1))[1]
    assert differing.max() > 1024 - 48 - 40, "the number at the right edge changes, not only the bar"


def test_not_applicable_is_grey_and_not_read_is_different_again() -> None:
    absent = draw_card(blank(), judged(None, applicable=False), PROMPT, 1024)
    unread = draw_card(blank(), judged(None), PROMPT, 1024)
    for drawn in (absent, unread):
        assert not any(pixels(drawn, color) for color in layout.LEVELS.values())
    assert pixels(absent, layout.TRACK) > 5000
    assert pixels(unread, layout.TRACK) == 0
    assert pixels(unread, layout.HAIRLINE) > 1000


def test_no_number_is_invented(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    draw = layout.draw_line
    monkeypatch.setattr(
        layout, "draw_line", lambda d, x, y, line: (shown.append(line.text), draw(d, x, y, line))
    )
    draw_card(
        blank(), Judgement({"a": Dimension("A", None), "b": Dimension("B", None, applicable=False)}), "p"
    )
    assert "–" in shown
    assert "not read" in shown
    assert "N/A" in shown
    assert not any(char.isdigit() for text in shown for char in text)
    shown.clear()
    draw_card(blank(), Judgement({"a": Dimension("A", 2.5), "b": Dimension("B", None)}), "p")
    assert "0.50" in shown
    assert "2.5" in shown
    assert "0 to 1, mean 2.5 of 4, 1 not read" in shown


def test_texts_and_bars_have_contrast() -> None:
    def luminance(color: tuple[int, int, int]) -> float:
        linear = [
            v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in (c / 255 for c in color)
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(one: tuple[int, int, int], other: tuple[int, int, int]) -> float:
        dark, light = sorted((luminance(one), luminance(other)))
        return (light + 0.05) / (dark + 0.05)

    assert min(contrast(color, layout.PAPER) for color in (layout.INK, layout.MUTED, layout.ACCENT)) >= 4.5
    assert (
        min(
            contrast(color, ground)
            for color in layout.LEVELS.values()
            for ground in (layout.PAPER, layout.TRACK)
        )
        >= 3
    )


# The texts


def test_a_card_grows_with_its_texts() -> None:
    short = draw_card(blank(), judged(3.0), PROMPT, 768)
    long = draw_card(
        blank(), judged(3.0, summary="A sentence. " * 30, refined_request="More words. " * 40), PROMPT, 768
    )
    assert long.height > short.height + 300
    assert pixels(short, layout.ACCENT) == 0, "without a refined prompt there is no room for one"
    assert pixels(long, layout.ACCENT) > 100


def test_very_long_texts_end_in_an_ellipsis(monkeypatch: pytest.MonkeyPatch) -> None:
    cleaned: list[str] = []

    def clean(text: str) -> str:
        cleaned.append(text)
        return text

    monkeypatch.setattr(typesetting, "clean", clean)
    endless = "word " * 100_000
    judgement = judged(3.0, 2.0, why=endless, summary=endless, refined_request="x" * 200_000)
    drawn = draw_card(blank(), judgement, "字" * 200_000, 512)
    assert drawn.height < 6000
    assert max(len(text) for text in cleaned) < 20_000, "what no card can show is not looked at"
    lines = wrap(endless, Style(20, layout.INK), 400, 3)
    assert len(lines) == 3
    assert lines[-1].text.endswith("…")
    assert wrap("one two", Style(20, layout.INK), 400, 3)[0].text == "one two"


def test_markup_and_control_characters_are_only_text() -> None:
    nasty = (
        "<b>bold</b> **x** {a|b} %s \\n \x00\x07\x1b[31m \u202eabc\u202c \ufeff \ud800 \ue000 "
        "\U000f0000 {{slot}}"
    )
    drawn = draw_card(blank(), judged(3.0, why=nasty, summary=nasty, refined_request=nasty), nasty)
    assert drawn.height > 600
    shown = " ".join(line.text for line in wrap(nasty, Style(20, layout.INK), 2000, 9))
    assert shown.startswith("<b>bold</b> **x** {a|b} %s \\n [31m abc")
    assert all(unicodedata.category(char)[0] != "C" for char in shown)


def test_an_empty_judgement_has_a_card() -> None:
    assert draw_card(blank(), Judgement({}), "").height > 512
    assert draw_card(blank(), Judgement({}, notes=["The answer was empty."]), "p").height > 512


# Batches


def test_cards_of_a_batch_are_of_one_size() -> None:
    images = [blank(512, 512), blank(300, 900), blank(1600, 400)]
    judgements = [judged(3.0), judged(1.0, 2.0, 4.0, summary="Text. " * 60), Judgement({})]
    cards = draw_cards(images, judgements, ["a", "b " * 300, ""])
    assert len({drawn.size for drawn in cards}) == 1
    assert cards[0].width == 1600
    assert draw_cards([], [], []) == []


def test_a_card_in_a_batch_is_the_single_card_on_more_paper() -> None:
    short, long = judged(3.0), judged(1.0, 2.0, 4.0, summary="Text. " * 60)
    single = draw_card(blank(), short, PROMPT, 768)
    padded = draw_cards([blank()] * 2, [short, long], [PROMPT] * 2, 768)[0]
    assert padded.crop((0, 0, *single.size)).tobytes() == single.tobytes()
    assert pixels(padded.crop((0, single.height, *padded.size)), layout.PAPER) == 768 * (
        padded.height - single.height
    )


def test_every_image_needs_its_judgement() -> None:
    with pytest.raises(QuestionError, match="2 images, 1 judgements"):
        draw_cards([blank()] * 2, [judged(3.0)], ["p"] * 2)


def test_a_second_card_loads_no_font_again() -> None:
    judgement = judged(3.5, 2.0, why=PROMPT * 2, summary=PROMPT * 2, refined_request=PROMPT * 4)
    draw_card(blank(), judgement, PROMPT)
    before = fonts.load.cache_info().misses, measure.cache_info().misses
    draw_card(blank(), judgement, PROMPT)
    assert (fonts.load.cache_info().misses, measure.cache_info().misses) == before
