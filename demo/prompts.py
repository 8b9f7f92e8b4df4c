"""Prompts of the shapes world: from a request to words, from words to a request, and requests by chance."""

from __future__ import annotations

import random
import re
from dataclasses import replace

from .scene import BACKGROUNDS, COLOURS, COUNTS, PLACES, SHAPES, SIZES, Flaw, Request, Wish

WORDS = (
    *(
        "SUN",
        "CAT",
        "HAT",
        "BED",
        "KEY",
        "BOX",
        "ICE",
        "OIL",
        "TEA",
        "INK",
        "SKY",
        "TOY",
        "BUS",
        "NET",
        "LAB",
        "HEN",
        "COD",
    ),
    *("DOT", "EAT", "LID", "OAK", "SEA", "TAX", "YES", "CUT", "BEE", "DAY", "EYE", "HUT", "KIT", "NUT"),
)
OPENINGS = ("", "", "a picture of ", "an image with ")
NUMBERS = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "1": 1, "2": 2, "3": 3}

_WISH = re.compile(
    rf"\b(?P<exactly>exactly\s+)?(?:(?P<count>{'|'.join(NUMBERS)})\s+)?(?:(?P<size>{'|'.join(SIZES)})\s+)?"
    rf"(?P<colour>{'|'.join(COLOURS)})\s+(?P<shape>{'|'.join(SHAPES)})s?"
    rf"(?:\s+(?:on|in|at)\s+the\s+(?P<place>{'|'.join(PLACES)}))?\b",
    re.IGNORECASE,
)
_BACKGROUND = re.compile(
    rf"\b(?P<plain>plain\s+)?(?P<background>{'|'.join(BACKGROUNDS)})\s+background\b", re.IGNORECASE
)
_WORD = re.compile(r"\bword\s+\"?(?P<word>[A-Z]{1,5})\"?(?P<spelled>\s*,?\s+spelled\b)?")
_SHARP = re.compile(r"\bsharp\b|\bclean\b", re.IGNORECASE)
_LEFT_OF = re.compile(r"\b(?P<side>left|right)\s+of\b", re.IGNORECASE)
_BETWEEN = re.compile(r"\bbetween\b", re.IGNORECASE)


def words_of(wish: Wish) -> str:
    """A wish in words: "two small blue squares on the left"."""
    count = COUNTS[wish.count] if wish.exactly or wish.count > 1 else "a"
    start = f"exactly {count}" if wish.exactly else count
    size = f" {wish.size}" if wish.size else ""
    place = f" {where(wish.place)}" if wish.place else ""
    return f"{start}{size} {wish.name}{'s' if wish.count > 1 else ''}{place}"


def where(place: str) -> str:
    """A place in words: "on the left"."""
    return f"{'in' if place == 'middle' else 'on'} the {place}"


def join(parts: list[str]) -> str:
    """ "x", "x and y", "x, y and z"."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def prompt_of(request: Request) -> str:
    """A request in its plain words; `parse_request` reads it back."""
    return _with_rest(join([words_of(wish) for wish in request.wishes]), request)


def phrased(request: Request, rng: random.Random) -> str:
    """The same request as somebody might phrase it: with an opening, or a relation instead of places."""
    things = request.wishes
    places = tuple(wish.place for wish in things)
    bare = [words_of(replace(wish, place="")) for wish in things]
    body = join([words_of(wish) for wish in things])
    if places == ("left", "right") and rng.random() < 0.5:
        body = f"{bare[0]} left of {bare[1]}"
    elif places == ("middle", "left", "right") and rng.random() < 0.5:
        body = f"{bare[0]} between {bare[1]} and {bare[2]}"
    return rng.choice(OPENINGS) + _with_rest(body, request)


def _with_rest(body: str, request: Request) -> str:
    if request.background:
        body += f" on a {'plain ' if request.plain else ''}{request.background} background"
    if request.word:
        body += f" with the word {request.word}" + (
            f" spelled {spelled(request.word)}" if request.spelled else ""
        )
    return body + (", sharp and clean" if request.sharp else "")


def spelled(word: str) -> str:
    """A word letter by letter: "S-U-N"."""
    return "-".join(word)


def parse_request(prompt: str) -> Request:
    """What a prompt asks for, as far as the shapes world knows it: the first three things, a background, a
    word.
    """
    found = list(_WISH.finditer(prompt))[:3]
    wishes = [_wish(match) for match in found]
    between = prompt[found[0].end() : found[1].start()] if len(found) > 1 else ""
    if len(wishes) == 3 and _BETWEEN.search(between):
        wishes = [
            replace(wish, place=place)
            for wish, place in zip(wishes, ("middle", "left", "right"), strict=True)
        ]
    elif len(wishes) > 1 and (side := _LEFT_OF.search(between)):
        places = ("left", "right") if side["side"].lower() == "left" else ("right", "left")
        wishes[:2] = [replace(wish, place=place) for wish, place in zip(wishes, places, strict=False)]
    background, word = _BACKGROUND.search(prompt), _WORD.search(prompt)
    return Request(
        tuple(wishes),
        background["background"].lower() if background else "",
        word["word"] if word else "",
        plain=bool(background and background["plain"]),
        spelled=bool(word and word["spelled"]),
        sharp=bool(_SHARP.search(prompt)),
    )


def _wish(found: re.Match[str]) -> Wish:
    count = NUMBERS[(found["count"] or "one").lower()]
    size, place = (found[name] or "" for name in ("size", "place"))
    return Wish(
        count,
        size.lower(),
        found["colour"].lower(),
        found["shape"].lower(),
        place.lower(),
        exactly=bool(found["exactly"]),
    )


def random_request(rng: random.Random) -> Request:
    """A request for one to three different things, half of them with a word."""
    number = rng.choice((1, 2, 2, 3))
    names = rng.sample([(colour, shape) for colour in COLOURS for shape in SHAPES], number)
    places = {
        1: [("left",), ("middle",), ("right",)],
        2: [("left", "right"), ("left", "middle"), ("middle", "right")],
    }
    arranged = (
        rng.choice(places.get(number, [PLACES, ("middle", "left", "right")]))
        if rng.random() < 0.5
        else ("",) * number
    )
    wishes = []
    for (colour, shape), place in zip(names, arranged, strict=True):
        size = rng.choice(("", *SIZES))
        wishes.append(Wish(rng.choice((1, 1, 2, 3)), size, colour, shape, place))
    background = rng.choice(("", *BACKGROUNDS)) if rng.random() < 0.6 else ""
    return Request(tuple(wishes), background, rng.choice(WORDS) if rng.random() < 0.5 else "")


def insisting(request: Request) -> Request:
    """The request that insists on everything, as somebody writes it who has not seen the image."""
    wishes = tuple(replace(wish, exactly=True) for wish in request.wishes)
    return replace(
        request, wishes=wishes, plain=bool(request.background), spelled=bool(request.word), sharp=True
    )


def insistences(request: Request) -> set[int | str]:
    """What a request insists on: wishes by their numbers, "background", "word", "quality"."""
    on = {"background": request.plain, "word": request.spelled, "quality": request.sharp}
    return {i for i, wish in enumerate(request.wishes) if wish.exactly} | {
        name for name, there in on.items() if there
    }


def refined(request: Request, flaws: list[Flaw]) -> Request:
    """The request that insists on what went wrong, and keeps the rest as it was."""
    kinds = {flaw.kind for flaw in flaws}
    wrong = {flaw.where for flaw in flaws if flaw.dimension == "text_faithfulness" and flaw.where >= 0}
    wishes = tuple(replace(wish, exactly=wish.exactly or i in wrong) for i, wish in enumerate(request.wishes))
    return replace(
        request,
        wishes=wishes,
        plain=request.plain or ("background" in kinds and bool(request.background)),
        spelled=request.spelled or any(flaw.dimension == "text_rendering" for flaw in flaws),
        sharp=request.sharp or any(flaw.dimension == "physical_quality" for flaw in flaws),
    )
