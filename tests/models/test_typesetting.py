"""Text on a card: every script is drawn with fonts that have it, in its order, in lines that fit."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from card_samples import SCRIPTS, blank, ink, judged

from rational_rewards.models.cards import fonts, layout, typesetting
from rational_rewards.models.cards.layout import draw_card
from rational_rewards.models.cards.typesetting import Style, measure, runs, wrap


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


# Lines


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
    empty = draw_card(blank(), judged(3.0, why=""), "", 512)
    assert ink(draw_card(blank(), judged(3.0, why=text), "", 512)) > ink(empty) + 100


@pytest.mark.usefixtures("bare", "unshaped")
@pytest.mark.parametrize("script", SCRIPTS)
def test_without_raqm_every_script_is_drawn(script: str) -> None:
    text = SCRIPTS[script]
    for line in wrap(text, Style(24, layout.INK), 900, 99):
        for run in runs(line.text, line.style, line.rtl):
            assert all(fonts.has(run.face, char) for char in typesetting._without_shaping(run))
    empty = draw_card(blank(), judged(3.0, why=""), "", 512)
    assert ink(draw_card(blank(), judged(3.0, why=text), "", 512)) > ink(empty) + 100


@pytest.mark.usefixtures("bare", "unshaped")
def test_without_raqm_arabic_letters_are_joined_and_turned() -> None:
    (run,) = runs("سلام", Style(24, layout.INK), True)
    # Meem alone, lam with alef at its end, seen beginning.
    assert typesetting._without_shaping(run) == "\ufee1\ufefc\ufeb3"
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
    drawn = draw_card(blank(), judged(3.0, summary=SCRIPTS["Hebrew"]), "", 1024).convert("L")
    rows = np.asarray(drawn)[-80:, :] < 140
    assert rows[:, 960:976].any()
    assert not rows[:, :400].any()


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
