"""The Critique Card: a picture to share, with its scores and what the critic says."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rational_rewards.models.cards import fonts, layout, typesetting
from rational_rewards.models.cards.layout import draw_card, draw_cards
from rational_rewards.models.cards.typesetting import Style, measure, runs, wrap
from rational_rewards.models.errors import QuestionError
from rational_rewards.models.judgement import Dimension, Judgement

PROMPT = "a woman with a (red scarf:1.3) and three dogs in front of a wooden door"
GREY = (128, 128, 128)  # a picture whose colour is on no bar

SCRIPTS = {
    "Latin": "Zażółć gęślą jaźń, một bức tranh, naïve café “quoted” – it’s €5 …",
    "Cyrillic": "Женщина в длинном красном шарфе, съёмка на закате; їжак і ґрунт.",
    "Greek": "Μια γυναίκα με κόκκινο κασκόλ, ἀρχὴ τῆς ὁδοῦ.",
    "Chinese": "一位戴着红色长围巾的女子站在雪地里，身边有三只棕色的狗，門右邊掛著一盞燈籠。",
    "Japanese": "赤い長いマフラーを巻いた女性が雪の庭に立っている。「写真のように」リアル。",
    "Korean": "빨간 목도리를 두른 여자가 눈 덮인 마당에 서 있고 강아지 세 마리가 있다.",
    "Arabic": "امرأة ترتدي وشاحًا أحمر (مع ثلاثة كلاب) بجانب باب خشبي، الإضاءة 3.5 من 4.",
    "Persian": "زنی با شال‌گردن قرمز کنار در چوبی ایستاده است، چراغ پرنور.",
    "Hebrew": "אישה עם צעיף אדום ארוך (עם 3 כלבים) ליד דלת עץ.",
    "Devanagari": "लाल दुपट्टा पहने एक स्त्री बर्फ़ से ढके आँगन में खड़ी है।",
    "Thai": "ผู้หญิงสวมผ้าพันคอสีแดงยาวยืนอยู่ในสนามหิมะข้างๆมีสุนัขสามตัว",
    "Indian": "বাংলা ভাষা, தமிழ் மொழி, తెలుగు, ગુજરાતી, ਪੰਜਾਬੀ, ಕನ್ನಡ, മലയാളം, සිංහල, ଓଡ଼ିଆ",
    "others": "ខ្មែរ, ລາວ, မြန်မာ, አማርኛ, ქართული, հայերեն",
    "emoji": "A cat 🐈 under a rainbow 🌈 with ❤️ and 👩‍👩‍👧 and 👍🏽 and 🇫🇷, ✨🔥⭐ 🫠",
    "symbols": "→ ∞ ≤ ★ ✔ ♫ ① ½ ☀ ─ █ ⌘ ⠿ ™ № ℃",
}


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A server without any fonts of its own."""
    caches = (fonts._pick, fonts.system_faces, fonts._cjk_faces, typesetting.runs, typesetting.measure)
    monkeypatch.setattr(fonts, "font_folders", lambda: [])
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.fixture
def unshaped(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A Pillow without Raqm."""
    caches = (fonts.load, typesetting.measure, typesetting.runs)
    monkeypatch.setattr(fonts, "shaping", lambda: False)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


def picture(width: int = 64, height: int = 64) -> Image.Image:
    return Image.new("RGB", (width, height), GREY)


def judged(*scores: float | None, applicable: bool = True, why: str = "Because.", **texts: str) -> Judgement:
    dimensions = {
        f"d{i}": Dimension(f"Dimension {i}", score, applicable, why) for i, score in enumerate(scores)
    }
    return Judgement(dimensions, **texts)


def pixels(image: Image.Image, color: tuple[int, int, int]) -> int:
    return int((np.asarray(image) == color).all(axis=-1).sum())


def ink(image: Image.Image) -> int:
    return int((np.asarray(image.convert("L")) < 120).sum())


# The picture and the size


@pytest.mark.parametrize("size", [512, 1024, 2048])
def test_a_card_has_the_width_that_was_asked_for(size: int) -> None:
    drawn = draw_card(picture(), judged(3.5, 2.0), PROMPT, size)
    assert drawn.mode == "RGB"
    assert drawn.width == size


def test_without_a_size_the_picture_decides() -> None:
    widths = [draw_card(picture(width, 100), judged(3.0), PROMPT).width for width in (64, 768, 4000)]
    assert widths == [512, 768, 2048]
    assert draw_card(picture(), judged(3.0), PROMPT, 10).width == 512
    assert draw_card(picture(), judged(3.0), PROMPT, 100_000).width == 2048


@pytest.mark.parametrize(
    ("width", "height"),
    [(64, 64), (832, 1216), (1216, 832), (80, 640), (640, 80), (8, 1), (1, 8), (8000, 1000), (1000, 8000)],
)
def test_the_picture_is_kept_whole_at_its_own_ratio(width: int, height: int) -> None:
    drawn = draw_card(picture(width, height), judged(4.0), PROMPT, 1024)
    rows, columns = np.nonzero((np.asarray(drawn) == GREY).all(axis=-1))
    shown_width, shown_height = int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1
    assert shown_width * shown_height == len(rows), "no text stands on it"
    assert shown_width / shown_height == pytest.approx(width / height, rel=0.02)
    assert max(shown_width, shown_height) >= 400


@pytest.mark.parametrize(("width", "height"), [(1, 1), (8000, 8000), (1, 8000), (8000, 1)])
def test_extreme_pictures_are_drawn(width: int, height: int) -> None:
    drawn = draw_card(picture(width, height), judged(3.0), PROMPT)
    assert 512 <= drawn.width <= 2048
    assert drawn.height < 4 * drawn.width


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I", "I;16", "F"])
def test_every_mode_of_picture_is_drawn(mode: str) -> None:
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
    drawn = draw_card(picture(), judged(score), PROMPT, 1024)
    full = pixels(draw_card(picture(), judged(4.0), PROMPT, 1024), layout.LEVELS[4])
    assert pixels(drawn, layout.LEVELS[level]) == pytest.approx(full * score / 4, rel=0.02)
    assert not any(pixels(drawn, layout.LEVELS[other]) for other in layout.LEVELS if other != level)


def test_the_number_stands_beside_its_bar() -> None:
    one, other = (draw_card(picture(), judged(score, 2.0), PROMPT, 1024) for score in (3.1, 3.4))
    differing = np.nonzero((np.asarray(one) != np.asarray(other)).any(axis=-1))[1]
    assert differing.max() > 1024 - 48 - 40, "the number at the right edge changes, not only the bar"


def test_not_applicable_is_grey_and_not_read_is_different_again() -> None:
    absent = draw_card(picture(), judged(None, applicable=False), PROMPT, 1024)
    unread = draw_card(picture(), judged(None), PROMPT, 1024)
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
        picture(), Judgement({"a": Dimension("A", None), "b": Dimension("B", None, applicable=False)}), "p"
    )
    assert "–" in shown
    assert "not read" in shown
    assert "N/A" in shown
    assert not any(char.isdigit() for text in shown for char in text)
    shown.clear()
    draw_card(picture(), Judgement({"a": Dimension("A", 2.5), "b": Dimension("B", None)}), "p")
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
    short = draw_card(picture(), judged(3.0), PROMPT, 768)
    long = draw_card(
        picture(), judged(3.0, summary="A sentence. " * 30, refined_request="More words. " * 40), PROMPT, 768
    )
    assert long.height > short.height + 300
    assert pixels(short, layout.ACCENT) == 0, "without a refined prompt there is no place for one"
    assert pixels(long, layout.ACCENT) > 100


def test_very_long_texts_end_in_an_ellipsis() -> None:
    endless = "word " * 100_000
    start = time.perf_counter()
    drawn = draw_card(
        picture(),
        judged(3.0, 2.0, why=endless, summary=endless, refined_request="x" * 200_000),
        "字" * 200_000,
        512,
    )
    assert time.perf_counter() - start < 5
    assert drawn.height < 6000
    lines = wrap(endless, Style(20, layout.INK), 400, 3)
    assert len(lines) == 3
    assert lines[-1].text.endswith("…")
    assert wrap("one two", Style(20, layout.INK), 400, 3)[0].text == "one two"


@pytest.mark.parametrize(
    "text", [*SCRIPTS.values(), "x" * 300, "https://example.org/" + "a-b/" * 50, "a\n\nb\r\nc", "１２３" * 40]
)
@pytest.mark.parametrize("size", [13, 26])
def test_no_line_is_wider_than_the_card(text: str, size: int) -> None:
    width = 16 * size
    lines = wrap(text, Style(size, layout.INK), width, 100)
    assert max(measure(line.text, line.style) for line in lines) <= width + 1
    letters = "".join(line.text for line in lines).replace(" ", "")
    assert letters == typesetting.clean(text).replace(" ", "").replace("\n", ""), "nothing is lost"


def test_lines_break_where_a_reader_expects_it() -> None:
    style = Style(20, layout.INK)
    assert [line.text for line in wrap("alpha beta gamma", style, measure("alpha beta", style) + 1, 9)] == [
        "alpha beta",
        "gamma",
    ]
    assert [line.text for line in wrap("one\n\ntwo", style, 500, 9)] == ["one", "two"]
    chinese = [line.text for line in wrap(SCRIPTS["Chinese"], style, 130, 99)]
    assert len(chinese) > 3
    assert not any(line[0] in "，。" for line in chinese)


def test_markup_and_control_characters_are_only_text() -> None:
    nasty = "<b>bold</b> **x** {a|b} %s \\n \x00\x07\x1b[31m \u202eabc\u202c \ufeff \ud800 \ue000 \U000f0000 {{slot}}"
    drawn = draw_card(picture(), judged(3.0, why=nasty, summary=nasty, refined_request=nasty), nasty)
    assert drawn.height > 600
    shown = " ".join(line.text for line in wrap(nasty, Style(20, layout.INK), 2000, 9))
    assert shown.startswith("<b>bold</b> **x** {a|b} %s \\n [31m abc")
    assert all(unicodedata.category(char)[0] != "C" for char in shown)


def test_an_empty_judgement_has_a_card() -> None:
    assert draw_card(picture(), Judgement({}), "").height > 512
    assert draw_card(picture(), Judgement({}, notes=["The answer was empty."]), "p").height > 512


# Every script, everywhere


def check_glyphs(text: str) -> None:
    """Every character that is drawn has a glyph of its own: none is the font's box for what it lacks."""
    style = Style(24, layout.INK)
    for line in wrap(text, style, 900, 99):
        drawn = runs(line.text, line.style, line.rtl)
        assert sorted("".join(run.text for run in drawn)) == sorted(line.text)
        for run in drawn:
            font = fonts.load(run.face, 24)
            box = bytes(font.getmask("\U0010fffd"))
            for char in run.text:
                assert char in typesetting.KEPT_FORMAT or fonts.has(run.face, char)
                assert char.isspace() or bytes(font.getmask(char)) != box, (
                    f"U+{ord(char):04X} in {run.face.path.name}"
                )


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_has_its_glyphs(script: str) -> None:
    check_glyphs(SCRIPTS[script])


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_has_its_glyphs_on_a_bare_server(script: str) -> None:
    assert fonts.system_faces() == ()
    check_glyphs(SCRIPTS[script])
    text = SCRIPTS[script]
    assert "[" not in typesetting.drawable(text, Style(24, layout.INK)), "the shipped fonts have all of it"
    blank = draw_card(picture(), judged(3.0, why=""), "", 512)
    assert ink(draw_card(picture(), judged(3.0, why=text), "", 512)) > ink(blank) + 100


@pytest.mark.usefixtures("bare", "unshaped")
@pytest.mark.parametrize("script", SCRIPTS)
def test_without_raqm_every_script_is_drawn(script: str) -> None:
    text = SCRIPTS[script]
    for line in wrap(text, Style(24, layout.INK), 900, 99):
        for run in runs(line.text, line.style, line.rtl):
            assert all(fonts.has(run.face, char) for char in typesetting._without_shaping(run))
    blank = draw_card(picture(), judged(3.0, why=""), "", 512)
    assert ink(draw_card(picture(), judged(3.0, why=text), "", 512)) > ink(blank) + 100


@pytest.mark.usefixtures("bare", "unshaped")
def test_without_raqm_arabic_letters_are_joined_and_turned() -> None:
    (run,) = runs("سلام", Style(24, layout.INK), True)
    assert (
        typesetting._without_shaping(run) == "\ufee1\ufefc\ufeb3"
    )  # meem alone, lam with alef at its end, seen beginning
    (hindi,) = runs("हिन्दी", Style(24, layout.INK), False)
    assert typesetting._without_shaping(hindi)[0] == "\u093f", "the sign i is written before its consonant"


@pytest.mark.usefixtures("bare")
def test_a_script_that_no_font_has_is_named() -> None:
    assert typesetting.drawable("see བོད་ཡིག here", Style(24, layout.INK)) == "see [Tibetan] here"
    assert typesetting.drawable("styled 𝔘𝔫𝔦", Style(24, layout.INK)) == "styled Uni"


def test_right_to_left_runs_stand_in_their_order() -> None:
    parts = typesetting._by_direction("שלום world 3.5 טוב", True)
    assert [(text.strip(), rtl) for text, rtl in parts] == [
        ("טוב", True),
        ("world 3.5", False),
        ("שלום", True),
    ]
    left = typesetting._by_direction("say שלום 3.5, ok", False)
    assert [(text.strip(), rtl) for text, rtl in left] == [
        ("say", False),
        ("3.5", False),
        ("שלום", True),
        (", ok", False),
    ]


def test_a_right_to_left_text_ends_at_the_right_edge() -> None:
    drawn = draw_card(picture(), judged(3.0, summary=SCRIPTS["Hebrew"]), "", 1024).convert("L")
    rows = np.asarray(drawn)[-80:, :] < 140
    assert rows[:, 960:976].any()
    assert not rows[:, :400].any()


# Batches


def test_cards_of_a_batch_are_of_one_size() -> None:
    images = [picture(512, 512), picture(300, 900), picture(1600, 400)]
    judgements = [judged(3.0), judged(1.0, 2.0, 4.0, summary="Text. " * 60), Judgement({})]
    cards = draw_cards(images, judgements, ["a", "b " * 300, ""])
    assert len({drawn.size for drawn in cards}) == 1
    assert cards[0].width == 1600
    assert draw_cards([], [], []) == []


def test_a_card_in_a_batch_is_the_card_alone_on_more_paper() -> None:
    short, long = judged(3.0), judged(1.0, 2.0, 4.0, summary="Text. " * 60)
    alone = draw_card(picture(), short, PROMPT, 768)
    padded = draw_cards([picture()] * 2, [short, long], [PROMPT] * 2, 768)[0]
    assert padded.crop((0, 0, *alone.size)).tobytes() == alone.tobytes()
    assert pixels(padded.crop((0, alone.height, *padded.size)), layout.PAPER) == 768 * (
        padded.height - alone.height
    )


def test_every_picture_needs_its_judgement() -> None:
    with pytest.raises(QuestionError, match="2 images, 1 judgements"):
        draw_cards([picture()] * 2, [judged(3.0)], ["p"] * 2)


def test_a_card_is_drawn_quickly() -> None:
    judgement = judged(3.5, 2.0, why=PROMPT * 2, summary=PROMPT * 2, refined_request=PROMPT * 4)
    draw_card(picture(1024, 1024), judgement, PROMPT)
    start = time.perf_counter()
    draw_card(picture(1024, 1024), judgement, PROMPT)
    assert time.perf_counter() - start < 1


# Fonts


def test_shipped_fonts_are_small_and_licensed() -> None:
    files = list(fonts.SHIPPED.iterdir())
    assert sum(file.stat().st_size for file in files) < 3.3 * 2**20
    for licence in ("LICENSE-Noto.txt", "LICENSE-DroidSansFallback.txt", "LICENSE-DejaVu.txt"):
        assert "icens" in (fonts.SHIPPED / licence).read_text(encoding="utf-8")


def test_the_character_map_agrees_with_what_is_drawn() -> None:
    for face in fonts.shipped_faces().values():
        starts, ends = fonts.coverage(face)
        assert starts
        assert all(end < start for end, start in zip(ends, starts[1:], strict=False)), (
            "sorted, and none twice"
        )
        font = fonts.load(face, 24)
        box = bytes(font.getmask("\U0010fffd"))
        for code in {*starts[::40], *ends[::40]}:
            if unicodedata.category(chr(code))[0] in "LNPS":
                assert bytes(font.getmask(chr(code))) != box, f"U+{code:04X} in {face.path.name}"


def test_files_that_are_no_fonts_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bare: None
) -> None:
    (tmp_path / "empty.ttf").write_bytes(b"")
    (tmp_path / "noise.otf").write_bytes(bytes(range(256)) * 20)
    (tmp_path / "cut.ttf").write_bytes((fonts.SHIPPED / "NotoSans-Regular.woff").read_bytes()[:3000])
    (tmp_path / "text.ttc").write_bytes(b"ttcf" + b"\0" * 40)
    monkeypatch.setattr(fonts, "font_folders", lambda: [tmp_path, tmp_path / "missing"])
    fonts.system_faces.cache_clear()
    assert len(fonts.system_faces()) == 4
    assert [fonts.coverage(face) for face in fonts.system_faces()] == [([], [])] * 4
    assert typesetting.drawable("བོད", Style(24, layout.INK)) == "[Tibetan]"
