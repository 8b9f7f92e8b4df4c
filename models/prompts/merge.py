"""A refined prompt made safe for ComfyUI: what the artist wrote as syntax survives, what the critic wrote as
prose stays prose.

In ComfyUI a bare parenthesis is syntax: `(x)` weighs x by 1.1, `(x:1.3)` by 1.3, `\\(x\\)` is text
(comfy/sd1_clip.py, `parse_parentheses` and `token_weights`), and `embedding:name` loads a file. The canvas
picks one of `{a|b}` when a prompt is in a text box, but not when it arrives on a wire, where a pack's
wildcard node may still do so. Square brackets, `AND` and `#` mean nothing to ComfyUI itself and stay text.

What is decided here:

- Weights, `embedding:name`, `<tag:...>`, `__wildcard__`, `{a|b}`, `[a:b:0.5]` and `MASK(0 0.5, 0 1)` of the
  original are kept letter by letter. A weight goes back onto its phrase where the refined text still has it;
  an option of `{a|b}` becomes the choice again where the next word shows that it is the same place; the rest
  is put at the end.
- All other parentheses are escaped. A weight, tag or embedding that the critic made up is dropped or reduced
  to its words: a made-up number can burn a picture, a made-up file does not exist. Braces are escaped where
  they could make a choice (the canvas and wildcard nodes both know `\\{`); others stay, because some models
  are prompted in JSON.
- The critic's formatting goes, and lines become one paragraph: for text encoders a line end is a space.
- `BREAK` goes back to where the refined text seems to leave one section for the next (`breaks.py`). The
  notes say so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..answers.unwrapping import unwrapped
from .breaks import restore_breaks
from .cleaning import FIRST_MARK, MARK, cleaned, sane, squash
from .foreign import foreign_tokens, separators
from .items import Item, Items, item_of
from .phrases import fold, place_of, replaced
from .syntax import (
    NUMBER,
    QUOTED,
    TAG,
    escaped_braces,
    replace_syntax,
    says_something,
    unescaped,
    words_of,
)

# Beside other text it may look like formatting.
SPECIAL = re.compile(r"[*_`\"“”«»\\(){}<>|#$]|(?<!\w)['‘’]|['‘’](?!\w)")
CRITICS_WEIGHT = re.compile(r"(?<!\\)\(([^()\\]*[^()\\\s\d:.])\s*" + NUMBER + r"\)|(?<!\\)\(\(([^()\\]+)\)\)")


@dataclass
class MergedPrompt:
    """The prompt to use next, and in short sentences what was put back or changed."""

    prompt: str
    notes: list[str]


def merge_refined(original: str, refined: str, keep: Sequence[str] = ()) -> MergedPrompt:
    """The refined prompt as the next one, with the artist's syntax and locked phrases of `original` and
    `keep` in it.

    `keep` holds one phrase per entry; a phrase that is there already, in any case of letters, is left alone.
    An empty refined prompt gives the original unchanged, with a note. Every other result has each piece of
    syntax of the original at least once (whitespace runs as one space), and its
    other parentheses escaped. Merging the result with the same original again changes nothing. Never raises
    on any text; time is linear in ordinary prompts.
    """
    if refined.strip() == original.strip():
        return MergedPrompt(original, [])
    notes: list[str] = []
    prompt = first = _merge_once(original, refined, keep, notes)
    # What cleaning uncovers may need cleaning itself.
    for _ in range(3):
        again = _merge_once(original, prompt, keep, [])
        if again == prompt:
            break
        prompt = again
    else:
        # Noise that never settles: better one pass than four.
        prompt = first
    if prompt == original.strip():
        return MergedPrompt(original, list(dict.fromkeys(notes)))
    if not prompt:
        return MergedPrompt(original, ["The refined prompt is empty, so the original prompt is kept."])
    broken = restore_breaks(original, prompt, [_locked_phrase(phrase) for phrase in keep])
    if broken != prompt:
        notes.append("BREAK put back where the sections of the original seem to end.")
    notes += _losses(original, broken)
    return MergedPrompt(broken, list(dict.fromkeys(notes)))


def _losses(original: str, merged: str) -> list[str]:
    """Notes on what ComfyUI itself does not read, other programs do, and the merged prompt does not have."""
    notes = []
    before, after = separators(original), separators(merged)
    for word in before:
        if before[word] > after[word]:
            notes.append(
                f"{word} of the original is not in the refined prompt: put it back where it shall separate "
                f"two prompts."
            )
    plain = squash(sane(merged))
    there = f"{plain}\n{unescaped(plain)}"
    lost = [token for token in foreign_tokens(squash(sane(original))) if token not in there]
    if lost:
        notes.append(
            f"Not in the refined prompt any more: {_listed(dict.fromkeys(lost))}. ComfyUI itself reads no "
            f"such syntax: put it back by hand where another node does."
        )
    return notes


def _merge_once(original: str, refined: str, keep: Sequence[str], notes: list[str]) -> str:
    """One pass; "" where the refined text holds nothing."""
    original, refined = squash(sane(original)), sane(refined)
    items = Items()
    replace_syntax(original, lambda piece: items.add(item_of(piece)))
    phrases = _locked(keep, items)

    text = replace_syntax(unwrapped(refined), lambda piece: items.find(piece.text, piece.kind))
    for raw, mark in sorted(phrases.items(), key=lambda phrase: -len(phrase[0])):
        if mark:
            for wording in dict.fromkeys((raw, _marked_phrase(items, mark))):
                text = replaced(text, wording, mark, every=True)
    text = cleaned(QUOTED.sub(lambda match: items.add_quoted(match[0]), text), notes)
    if inner := items.quoted(text):
        # The quotation marks were around the prompt, behind a label: they quote nothing.
        return _merge_once(original, inner[1:-1], keep, notes)
    text = _prose(text, notes)
    if not says_something(text):
        return ""
    text = _put_back(text, items, phrases, notes)
    text = _with_room(text, items)

    plain = fold(unescaped(items.expand(text, lambda item: item.words or item.text)))
    missing = [raw for raw, mark in phrases.items() if not mark and place_of(plain, fold(unescaped(raw))) < 0]
    if missing:
        text = _appended(text, missing)
        notes.append(f"Locked phrases added at the end: {_listed(missing)}.")
    return items.expand(text)


def _locked_phrase(given: str) -> str:
    return squash(sane(given)).lstrip(", ").rstrip(", \\")


def _locked(keep: Sequence[str], items: Items) -> dict[str, str]:
    """Locked phrases; those that cleaning or escaping would change get a mark, plain ones ""."""
    phrases: dict[str, str] = {}
    for given in keep:
        phrase = _locked_phrase(given)
        if not phrase or phrase in phrases:
            continue
        inner = replace_syntax(phrase, lambda piece: items.add(item_of(piece), required=False))
        if re.fullmatch(MARK, inner):
            items.required.setdefault(ord(inner) - FIRST_MARK)
            continue
        if inner == phrase == _prose(cleaned(phrase, []), []) and not SPECIAL.search(phrase):
            phrases[phrase] = ""
        else:
            safe = items.expand(re.sub(r"\\*([()])", r"\\\1", inner))
            phrases[inner] = items.add(Item(safe, "phrase", words_of(safe), holds=inner))
    return phrases


def _marked_phrase(items: Items, mark: str) -> str:
    return replace_syntax(items.expand(mark), lambda piece: items.find(piece.text, piece.kind))


# Making the critic's words free of syntax


def _prose(text: str, notes: list[str]) -> str:
    """What is left of the critic's words made free of syntax; marks stand for the artist's."""
    before = text
    for _ in range(3):
        text = TAG.sub(" ", text)
    if TAG.search(text):
        text = text.replace("<", " ")
    if text != before:
        notes.append("Tags that are not in the original were removed.")
    before = text
    for _ in range(5):
        text = CRITICS_WEIGHT.sub(lambda m: m[1] or m[2], text)
    if text != before:
        notes.append("Weights that are not in the original were removed.")
    if re.search(r"(?<!\\)[()]", text):
        notes.append(
            "Parentheses of the refined text were escaped, because bare ones are a weight in ComfyUI."
        )
    text = re.sub(r"\\*([()])", r"\\\1", text)
    before = text
    text = escaped_braces(text)
    if text != before:
        notes.append("Braces of the refined text were escaped, because they would make a random choice.")
    return squash(re.sub(r"(?<!\w)embedding:\s*", "embedding ", text))


# Putting back what the artist wrote


def _put_back(text: str, items: Items, phrases: dict[str, str], notes: list[str]) -> str:
    """The text with every required item in it: where the text still shows its position, there; otherwise at
    the end.
    """
    present = items.present(text)
    missing = [number for number in items.required if chr(FIRST_MARK + number) not in present]
    placed: list[str] = []
    for number in sorted(missing, key=lambda number: -len(items.all[number].words)):
        item, mark = items.all[number], chr(FIRST_MARK + number)
        before = text
        if item.kind == "weight" and _is_telling(item.words):
            # "(aspect ratio 16:9)" says all of it, though ComfyUI reads the 9 as its weight.
            for words in dict.fromkeys((item.text[1:-1], item.words)):
                if text == before:
                    text = replaced(text, re.sub(r"[()]", r"\\\g<0>", words), mark)
        elif item.kind == "choice" and item.following and "$" not in item.text:
            for option in item.text.strip("{}").split("|"):
                if text == before and option.strip():
                    text = replaced(text, f"{option.strip()} {item.following}", f"{mark} {item.following}")
        if text != before:
            placed.append(item.text)
    present = items.present(text)
    rest = [number for number in missing if chr(FIRST_MARK + number) not in present]
    locked = {ord(mark) - FIRST_MARK for mark in phrases.values() if mark}
    for what, numbers in (
        ("Syntax of the original added at the end", [n for n in rest if n not in locked]),
        ("Locked phrases added at the end", [n for n in rest if n in locked]),
    ):
        if numbers:
            notes.append(f"{what}: {_listed(items.all[n].text for n in numbers)}.")
    if placed:
        notes.append(f"Syntax of the original put back in its place: {_listed(placed)}.")
    return _appended(text, [chr(FIRST_MARK + number) for number in rest]) if rest else text


def _is_telling(words: str) -> bool:
    """Whether words are enough to find their place: three letters, or one of a script that needs no more."""
    return sum(map(str.isalnum, words)) >= (3 if words.isascii() else 1)


def _appended(text: str, parts: Sequence[str]) -> str:
    text = text.rstrip(", ")
    joint = " " if text.endswith(tuple(".!?…。！？")) else ", "
    return text + (joint if text else "") + ", ".join(parts)


def _with_room(text: str, items: Items) -> str:
    """Space around embeddings: ComfyUI finds them only after one, and takes what follows directly for part of
    the name.
    """
    marks = "".join(chr(FIRST_MARK + i) for i, item in enumerate(items.all) if item.kind == "embedding")
    if not marks:
        return text
    text = re.sub(rf"(?<=[^\s])(?=[{marks}])", " ", text)
    return squash(re.sub(rf"([{marks}])(?:{NUMBER}(?!\w))?(?=[^\s,]|$)", r"\1 ", text))


def _listed(texts: Iterable[str]) -> str:
    shown = [text if len(text) <= 60 else text[:59] + "…" for text in texts]
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")
