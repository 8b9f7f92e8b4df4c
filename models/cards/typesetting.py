"""Text on a card: broken into lines, every run of characters in a font that has them, right-to-left scripts
in their order.

Pillow draws one string with one font. Here a line is split into runs of one font and one direction, which
Raqm then shapes where Pillow has it. Without Raqm, Arabic letters are joined through their presentation forms
and other scripts stay readable. The order of directions follows the Unicode bidirectional algorithm (UAX 9)
without its control characters.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby

from PIL import ImageDraw

from . import fonts

ELLIPSIS = "…"
# No line ends after these, or begins with those; the last of each are Thai and Lao vowels that belong to a
# consonant.
OPENING = "([{«‹“‘「『（［｛〈《【〔เแโใไເແໂໃໄ"
CLOSING = ".,:;!?%)]}»›”’、。，．：；！？」』）］｝〉》】〕…ー々ぁぃぅぇぉっゃゅょァィゥェォッャュョะาำๅๆະາຳ"
# Characters; what is beyond cannot stand on the lines that are asked for.
MOST_PER_LINE = 400
# Joiners, which shape words.
KEPT_FORMAT = "\u200c\u200d"
VARIATION = re.compile("[\ufe00-\ufe0f\u20e3\U000e0100-\U000e01ef]")
# Pairs that Arabic writes as one letter.
LAM_ALEF = (
    "\u0644\u0622",
    "\u0644\u0623",
    "\u0644\u0625",
    "\u0644\u0627",
)
# Form of an Arabic letter by whether it joins the one before and the one behind.
ARABIC_FORMS = {
    (False, False): "isolated",
    (False, True): "initial",
    (True, False): "final",
    (True, True): "medial",
}
# Vowel signs of Indian and Southeast Asian scripts that are typed after their consonant and written before
# it.
WRITTEN_FIRST = (
    "\u093f\u09bf\u09c7\u09c8\u0a3f\u0abf\u0b47\u0bc6\u0bc7\u0bc8"
    "\u0d46\u0d47\u0d48\u0dd9\u0ddb\u1031\u17c1\u17c2\u17c3"
)
EMOJI_JOINER = re.compile("(?<=[\u2190-\u2bff\U0001f000-\U0001faff])[\u200d\U0001f3fb-\U0001f3ff]+")


@dataclass(frozen=True)
class Style:
    """Size in pixels, colour, weight, and the language ("zh", "ja", "ko") that decides between CJK fonts."""

    size: int
    color: tuple[int, int, int]
    bold: bool = False
    language: str = "zh"

    @property
    def line_height(self) -> int:
        """Pixels from one baseline to the next; room for scripts with marks above and below."""
        return round(self.size * 1.5)


@dataclass(frozen=True)
class Line:
    """One line in reading order; `rtl` is the direction of its paragraph."""

    text: str
    style: Style
    rtl: bool = False


@dataclass(frozen=True)
class Run:
    """Characters of one font and one direction. `text` is in reading order."""

    text: str
    face: fonts.Face
    rtl: bool


def wrap(text: str, style: Style, width: float, most: int) -> list[Line]:
    """At most `most` lines of at most `width` pixels; longer text ends in an ellipsis.

    Works without spaces too.
    """
    style = replace(style, language=language_of(text))
    shown = drawable(clean(text[: most * MOST_PER_LINE]), style)
    more = len(text) > most * MOST_PER_LINE
    lines: list[Line] = []
    for paragraph in filter(None, shown.split("\n")):
        rtl = _is_rtl(paragraph)
        for line in _fill(paragraph, style, width):
            if len(lines) == most:
                return _shorten(lines, width)
            lines.append(Line(line, style, rtl))
    return _shorten(lines, width) if more and lines else lines


def draw_line(draw: ImageDraw.ImageDraw, x: float, baseline: float, line: Line) -> None:
    """Draw the line from `x` on; the style's colour."""
    for run in runs(line.text, line.style, line.rtl):
        font = fonts.load(run.face, line.style.size)
        if fonts.shaping():
            direction = "rtl" if run.rtl else "ltr"
            draw.text((x, baseline), run.text, line.style.color, font, anchor="ls", direction=direction)
            x += font.getlength(run.text, direction=direction)
        else:
            shown = _without_shaping(run)
            draw.text((x, baseline), shown, line.style.color, font, anchor="ls")
            x += font.getlength(shown)


@functools.lru_cache(maxsize=20000)
def measure(text: str, style: Style) -> float:
    """Width of the text on one line, in pixels."""
    width = 0.0
    for run in runs(text, style, _is_rtl(text)):
        font = fonts.load(run.face, style.size)
        if fonts.shaping():
            width += font.getlength(run.text, direction="rtl" if run.rtl else "ltr")
        else:
            width += font.getlength(_without_shaping(run))
    return width


def clean(text: str) -> str:
    """Text without what a card must not obey: control and direction characters and the like.

    Line ends are plain newlines.
    """
    text = re.sub("\r\n?|[\u2028\u2029\v\f\x85]", "\n", text)
    text = EMOJI_JOINER.sub("", VARIATION.sub("", text))
    text = "".join(
        c for c in text if c in "\n\t" + KEPT_FORMAT or unicodedata.category(c) not in ("Cc", "Cf", "Cs")
    )
    lines = (" ".join(line.split()) for line in unicodedata.normalize("NFC", text).split("\n"))
    return "\n".join(line for line in lines if line)


def drawable(text: str, style: Style) -> str:
    """The text with every character that no font here has replaced by its script's name, as in
    "[Tibetan]".
    """
    if text.isascii():
        return text
    shown: list[str] = []
    # The script of the characters before, if no font has them.
    unknown = ""
    for cluster in clusters(text):
        face = None if cluster == "\n" else fonts.pick(cluster, style.bold, style.language)
        # A styled letter may stand for a common one.
        plain = unicodedata.normalize("NFKC", cluster)
        if not face and plain[0] not in cluster + " \n":
            cluster, face = plain, fonts.pick(plain, style.bold, style.language)
        if face or cluster == "\n":
            shown.append(
                "".join(c for c in cluster if face is None or c in KEPT_FORMAT or fonts.has(face, c))
            )
            unknown = ""
            continue
        # The first word of a character's name is its script; private use characters have no name.
        script = re.split("[ -]", unicodedata.name(cluster[0], ""))[0]
        if script and script != unknown:
            shown.append(f"[{script.capitalize()}]")
            unknown = script
    return "".join(shown)


def language_of(text: str) -> str:
    """Which of the languages that share Han characters the text is likely in: "ja", "ko" or "zh"."""
    if re.search("[\u3041-\u30ff]", text):
        return "ja"
    return "ko" if re.search("[\uac00-\ud7a3\u1100-\u11ff]", text) else "zh"


def clusters(text: str) -> list[str]:
    """Characters with the marks that belong to them; conjuncts of Indian scripts stay together."""
    if text.isascii():
        return list(text)
    parts: list[str] = []
    for char in text:
        joins = unicodedata.category(char)[0] == "M" or char in KEPT_FORMAT
        virama = (
            bool(parts) and unicodedata.combining(parts[-1][-1]) == 9 and unicodedata.category(char) == "Lo"
        )
        if (
            parts
            and (joins or virama or parts[-1][-1] == "\u200d")
            and parts[-1] not in (" ", "\n")
            and char not in " \n"
        ):
            parts[-1] += char
        else:
            parts.append(char)
    return parts


def _fill(paragraph: str, style: Style, width: float) -> Iterator[str]:
    line, used = "", 0.0
    for word in _words(paragraph):
        room = measure(word.rstrip(), style)
        # A word that is wider than a line is broken anywhere.
        for piece in [word] if room <= width else clusters(word):
            if line and used + measure(piece.rstrip(), style) > width:
                yield line.rstrip()
                line, used = "", 0.0
            line, used = line + piece, used + measure(piece, style)
    yield line.rstrip()


def _words(text: str) -> list[str]:
    """Pieces that a line may end after: words with their space, and single characters of scripts without
    spaces.
    """
    words: list[str] = []
    before = ""
    for cluster in clusters(text):
        if before == " ":
            apart = True
        elif cluster == " " or cluster[0] in CLOSING or (before and before[0] in OPENING):
            apart = False
        else:
            apart = bool(before) and (_dense(before[0]) or _dense(cluster[0]))
        if apart or not words:
            words.append(cluster)
        else:
            words[-1] += cluster
        before = cluster
    return words


def _dense(char: str) -> bool:
    """Whether the script has no spaces between words (Hangul has)."""
    code = ord(char)
    if 0xAC00 <= code <= 0xD7A3:
        return False
    southeast = 0x0E00 <= code < 0x0F00 or 0x1000 <= code < 0x10A0 or 0x1780 <= code < 0x1800
    return southeast or unicodedata.east_asian_width(char) in ("W", "F")


def _shorten(lines: list[Line], width: float) -> list[Line]:
    last = lines[-1]
    kept = clusters(last.text)
    while kept and measure("".join(kept).rstrip() + ELLIPSIS, last.style) > width:
        kept.pop()
    return [*lines[:-1], replace(last, text="".join(kept).rstrip() + ELLIPSIS)]


@functools.lru_cache(maxsize=4000)
def runs(text: str, style: Style, rtl: bool) -> tuple[Run, ...]:
    """The text of one line as runs from left to right."""
    ordered: list[Run] = []
    for part, backwards in _by_direction(text, rtl):
        pieces: list[Run] = []
        for cluster in clusters(part):
            face = fonts.pick(cluster, style.bold, style.language)
            if face is None:
                continue
            if pieces and pieces[-1].face == face:
                pieces[-1] = replace(pieces[-1], text=pieces[-1].text + cluster)
            else:
                pieces.append(Run(cluster, face, backwards))
        ordered += reversed(pieces) if backwards else pieces
    return tuple(ordered)


def _is_rtl(text: str) -> bool:
    """Whether the first letter with a direction is a right-to-left one."""
    strong = (unicodedata.bidirectional(char) for char in text)
    return next((kind != "L" for kind in strong if kind in ("L", "R", "AL")), False)


def _by_direction(text: str, rtl: bool) -> list[tuple[str, bool]]:
    """Parts of the line from left to right, each with whether it is read from right to left."""
    if text.isascii() and not rtl:
        return [(text, False)]
    levels = _levels(text, rtl)
    parts: list[tuple[str, int]] = []
    for level, group in groupby(zip(text, levels, strict=True), key=lambda pair: pair[1]):
        parts.append(("".join(char for char, _ in group), level))
    # Rule L2: turn round every stretch at this level or above.
    for least in (2, 1):
        turned: list[tuple[str, int]] = []
        for high, stretch in groupby(parts, key=lambda part, least=least: part[1] >= least):
            pieces = list(stretch)
            turned += reversed(pieces) if high else pieces
        parts = turned
    return [(part, level % 2 == 1) for part, level in parts]


def _levels(text: str, rtl: bool) -> list[int]:
    base = "R" if rtl else "L"
    kinds = [unicodedata.bidirectional(char) for char in text]
    # L, R, N (a number among right-to-left letters), or "" where it is still open.
    directions: list[str] = []
    strong = base
    for i, kind in enumerate(kinds):
        if kind == "NSM":
            directions.append(directions[-1] if directions else "")
            continue
        if kind in ("L", "R", "AL"):
            strong = "L" if kind == "L" else "R"
            directions.append(strong)
        elif kind in ("EN", "AN"):
            directions.append("L" if strong == "L" else "N")
        elif kind in ("CS", "ES") and 0 < i < len(kinds) - 1 and kinds[i - 1] == kinds[i + 1] == "EN":
            # The point of "3.5".
            directions.append(directions[-1])
        elif kind == "ET" and (kinds[i - 1 : i] == ["EN"] or kinds[i + 1 : i + 2] == ["EN"]):
            # The sign of "50%".
            directions.append("L" if strong == "L" else "N")
        else:
            directions.append("")
    before = [base]
    for direction in directions:
        before.append({"N": "R", "": before[-1]}.get(direction, direction))
    after = base
    for i in range(len(directions) - 1, -1, -1):
        if directions[i] == "":
            directions[i] = after if before[i] == after else base
        else:
            after = "R" if directions[i] == "N" else directions[i]
    levels = {"L": 2 if rtl else 0, "R": 1, "N": 2}
    return [levels[direction] for direction in directions]


@functools.lru_cache(maxsize=1)
def _arabic_forms() -> dict[str, dict[str, str]]:
    """Letter or letters -> {"isolated" | "initial" | "medial" | "final": presentation form}, from the Unicode
    data.
    """
    forms: dict[str, dict[str, str]] = {}
    for code in [*range(0xFB50, 0xFDFD), *range(0xFE70, 0xFEFD)]:
        kind, *letters = unicodedata.decomposition(chr(code)).split() or [""]
        name = "".join(chr(int(letter, 16)) for letter in letters)
        if kind and (len(name) == 1 or name in LAM_ALEF):
            forms.setdefault(name, {})[kind.strip("<>")] = chr(code)
    return forms


def _without_shaping(run: Run) -> str:
    """What Pillow's basic layout, which only goes from left to right, must be given to show this run."""
    if not run.rtl:
        shown_clusters: list[str] = []
        for cluster in clusters(run.text):
            visible = [char for char in cluster if char not in KEPT_FORMAT]
            first = [char for char in visible if char in WRITTEN_FIRST]
            rest = [char for char in visible if char not in WRITTEN_FIRST]
            shown_clusters.append("".join(first + rest))
        return "".join(shown_clusters)
    forms = _arabic_forms()
    letters: list[str] = re.findall(
        "|".join(LAM_ALEF) + "|.", "".join(c for c in run.text if not unicodedata.combining(c))
    )
    shown: list[str] = []
    # Whether the letter before reaches out to this one.
    joined = False
    for i, letter in enumerate(letters):
        own: dict[str, str] = forms.get(letter, {})
        following = letters[i + 1] if i + 1 < len(letters) else ""
        reaches = "initial" in own and "final" in forms.get(following, {})
        joins = joined and "final" in own
        drawn = own.get(ARABIC_FORMS[joins, reaches], letter)
        shown.append(drawn if fonts.has(run.face, drawn) else letter)
        joined = reaches
    mirrored = str.maketrans("()[]{}<>«»‹›", ")(][}{><»«›‹")
    return "".join(reversed(shown)).translate(mirrored)
