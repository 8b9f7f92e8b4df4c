"""A refined request made safe for ComfyUI: what the artist wrote as syntax survives, what the critic wrote as prose stays prose.

In ComfyUI a bare parenthesis is syntax: `(x)` weighs x by 1.1, `(x:1.3)` by 1.3, `\\(x\\)` is text (comfy/sd1_clip.py,
`parse_parentheses` and `token_weights`), and `embedding:name` loads a file. The canvas picks one of `{a|b}` when a prompt stands
in a text box, but not when it arrives on a wire, where a pack's wildcard node may still do so. Square brackets, `AND` and
`#` mean nothing to ComfyUI and stay text.

What is decided here:

- Weights, `embedding:name`, `<tag:...>`, `__wildcard__` and `{a|b}` of the original are kept letter by letter. A weight goes
  back onto its phrase where the refined text still has it; an option of `{a|b}` becomes the choice again where the next word
  shows that it is the same place; the rest is put at the end.
- All other parentheses are escaped. A weight, tag or embedding that the critic made up is dropped or reduced to its words:
  a made-up number can burn a picture, a made-up file does not exist. Braces are escaped where they could make a choice (the
  canvas and wildcard nodes both know `\\{`); others stay, because some models are prompted in JSON.
- The critic's formatting goes, and lines become one paragraph: for text encoders a line end is a space.
- `BREAK` goes back to where the refined text seems to leave one section for the next (`prompt_breaks`). The notes say so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from .breaks import restore_breaks
from .cleaning import FIRST_MARK, LAST_MARK, MARK, cleaned, sane, squash

DEEPEST = 50  # parentheses nested deeper than this are prose

START = re.compile(r"\\.|[({<]|__|(?<!\w)embedding:", re.DOTALL)
TAG = re.compile(r"<[A-Za-z][\w-]*:[^<>]{1,300}>")
WILDCARD = re.compile(r"__(?=[^\W_]|\*)[\w./*-]{1,100}?(?<!_)__(?!_)")
EMBEDDING = re.compile(r"embedding:(?:\\[()]|[^\s,()<>\[\]{}|;\"'\\\U000f0000-\U0010fffd]){1,300}")
NUMBER = r":\s*[+-]?(?:\d+\.?\d*|\.\d+)\s*"
SPECIAL = re.compile(
    r"[*_`\"“”«»\\(){}<>|#$]|(?<!\w)['‘’]|['‘’](?!\w)"
)  # beside other text it may look like formatting
CRITICS_WEIGHT = re.compile(r"(?<!\\)\(([^()\\]*[^()\\\s\d:.])\s*" + NUMBER + r"\)|(?<!\\)\(\(([^()\\]+)\)\)")


@dataclass
class MergedPrompt:
    """The prompt to use next, and in short sentences what was put back or changed."""

    prompt: str
    notes: list[str]


@dataclass(frozen=True)
class _Item:
    """A piece of the artist's syntax: `text` as it goes into the prompt, `words` without weights, `after`: the next word."""

    text: str
    kind: str  # "weight", "embedding", "tag", "wildcard", "choice"; "phrase" is a locked phrase that needs the same care
    words: str = ""
    after: str = ""


@dataclass
class _Items:
    """The artist's pieces of syntax, each with the character that stands for it."""

    all: list[_Item] = field(default_factory=list)
    by_key: dict[str, int] = field(
        default_factory=dict
    )  # exact text, then text without case and escapes, then words
    required: dict[int, None] = field(default_factory=dict)  # in order: what must be in the result

    def add(self, item: _Item, required: bool = True) -> str:
        number = self.by_key.get("=" + item.text)
        if number is None:
            if len(self.all) > LAST_MARK - FIRST_MARK:
                return item.text  # over a hundred thousand pieces: no prompt of this world
            number = len(self.all)
            self.all.append(item)
            self.by_key["=" + item.text] = number
            self.by_key.setdefault("~" + _fold(_unescaped(item.text)), number)
            if item.kind == "weight":
                self.by_key.setdefault(" " + _fold(item.words), number)
        if required:
            self.required.setdefault(number)
        return chr(FIRST_MARK + number)

    def find(self, token: str, kind: str) -> str | None:
        """The character of the item that the token means; for a weight its words are enough, whatever the number."""
        keys = ["=" + token, "~" + _fold(_unescaped(token))]
        if kind in ("weight", "embedding"):
            keys.append(" " + _fold(_words(token)))
        number = next((self.by_key[key] for key in keys if key in self.by_key), None)
        return None if number is None else chr(FIRST_MARK + number)

    def expand(self, text: str, shown: Callable[[_Item], str] = lambda item: item.text) -> str:
        """The text with every mark replaced by its item."""
        return re.sub(MARK, lambda m: shown(self.all[ord(m[0]) - FIRST_MARK]), text)


def merge_refined(original: str, refined: str, keep: Sequence[str] = ()) -> MergedPrompt:
    """The refined request as the next prompt, with the artist's syntax and locked phrases of `original` and `keep` in it.

    `keep` holds one phrase per entry; a phrase that is there already, in any case of letters, is left alone. An empty
    refined request gives the original unchanged, with a note. Every other result has each weight, embedding, tag, wildcard
    and choice of the original at least once (whitespace runs as one space), and its other parentheses escaped. Merging
    the result with the same original again changes nothing. Never raises on any text; time is linear in ordinary prompts.
    """
    if refined.strip() == original.strip():
        return MergedPrompt(original, [])
    notes: list[str] = []
    prompt = first = _merge_once(original, refined, keep, notes)
    for _ in range(3):  # what cleaning uncovers may need cleaning itself
        again = _merge_once(original, prompt, keep, [])
        if again == prompt:
            break
        prompt = again
    else:
        prompt = first  # noise that never settles: better one pass than four
    if prompt == original.strip():
        return MergedPrompt(original, list(dict.fromkeys(notes)))
    if not prompt:
        return MergedPrompt(original, ["The refined request is empty, so the original prompt is kept."])
    broken = restore_breaks(original, prompt)
    if broken != prompt:
        notes.append("BREAK put back where the sections of the original seem to end.")
    return MergedPrompt(broken, list(dict.fromkeys(notes)))


def _merge_once(original: str, refined: str, keep: Sequence[str], notes: list[str]) -> str:
    """One pass; "" where the refined text holds nothing."""
    original, refined = squash(sane(original)), sane(refined)
    items = _Items()
    _mark(original, lambda token, kind, after: items.add(_Item(_balanced(token), kind, _words(token), after)))
    phrases = _locked(keep, items)

    text = _mark(refined, lambda token, kind, _: items.find(token, kind))
    for raw, mark in sorted(phrases.items(), key=lambda phrase: -len(phrase[0])):
        if mark:
            for form in dict.fromkeys((raw, _marked_phrase(items, mark))):
                text = _replaced(text, form, mark, every=True)
    text = _prose(cleaned(text, notes), notes)
    if not text:
        return ""
    text = _put_back(text, items, phrases, notes)
    text = _with_room(text, items)

    plain = _fold(_unescaped(items.expand(text, lambda item: item.words or item.text)))
    missing = [raw for raw, mark in phrases.items() if not mark and _place(plain, _fold(_unescaped(raw))) < 0]
    if missing:
        text = _appended(text, missing)
        notes.append(f"Locked phrases added at the end: {_listed(missing)}.")
    return items.expand(text)


def _locked(keep: Sequence[str], items: _Items) -> dict[str, str]:
    """Locked phrases; those that cleaning or escaping would change get a mark, plain ones ""."""
    phrases: dict[str, str] = {}
    for given in keep:
        phrase = squash(sane(given)).strip(", ").rstrip("\\").rstrip()
        if not phrase or phrase in phrases:
            continue
        inner = _mark(
            phrase,
            lambda token, kind, after: items.add(
                _Item(_balanced(token), kind, _words(token)), required=False
            ),
        )
        if re.fullmatch(MARK, inner):
            items.required.setdefault(ord(inner) - FIRST_MARK)
            continue
        if inner == phrase == _prose(cleaned(phrase, []), []) and not SPECIAL.search(phrase):
            phrases[phrase] = ""
        else:
            safe = items.expand(re.sub(r"\\*([()])", r"\\\1", inner))
            phrases[inner] = items.add(_Item(safe, "phrase", _words(safe)))
    return phrases


def _marked_phrase(items: _Items, mark: str) -> str:
    return _mark(
        items.expand(mark), lambda token, kind, _: items.find(token, kind) if kind != "phrase" else None
    )


# Reading syntax


def _mark(text: str, known: Callable[[str, str, str], str | None]) -> str:
    """The text with every outermost piece of syntax replaced by what `known(token, kind, next word)` gives, if it gives any."""
    pairs, depth = _pairs(text, "()")
    braces, _ = _pairs(text, "{}")
    out: list[str] = []
    position = done = 0
    while found := START.search(text, position):
        start, position = found.start(), found.end()
        end, kind = start, ""
        if found[0] == "(" and start in pairs and depth[start] < DEEPEST:
            end, kind = pairs[start] + 1, "weight"
        elif found[0] == "{" and start in braces:
            end, kind = braces[start] + 1, "choice"
            start -= start > done and text[start - 1] == "$"
        elif found[0] == "<" and (match := TAG.match(text, start)):
            end, kind = match.end(), "tag"
        elif found[0] == "__" and (match := WILDCARD.match(text, start)):
            end, kind = match.end(), "wildcard"
        elif found[0] == "embedding:" and (match := EMBEDDING.match(text, start)):
            end, kind = start + len(match[0].rstrip(".:!?")), "embedding"
        token = text[start:end]
        if not kind or not _means_something(token, kind):
            continue
        following = re.match(r"\s?(\w+)", text[end : end + 40])
        mark = known(token, kind, following[1] if following else "")
        if mark is not None:
            out += (text[done:start], mark)
            done = position = end
    return "".join([*out, text[done:]])


def _means_something(token: str, kind: str) -> bool:
    if kind == "choice":
        return "|" in token or "$$" in token or token.startswith("$")
    return (
        kind != "embedding" or len(token) > len("embedding:")
        if kind != "weight"
        else any(map(str.isalnum, token))
    )


def _pairs(text: str, kinds: str) -> tuple[dict[int, int], dict[int, int]]:
    """Position of each opening bracket -> position of its closing one, and -> how deep it stands. Escaped ones are text."""
    pairs: dict[int, int] = {}
    depth: dict[int, int] = {}
    opened: list[int] = []
    for match in re.finditer(rf"(?<!\\)[{re.escape(kinds)}]", text):
        if match[0] == kinds[0]:
            depth[match.start()] = len(opened)
            opened.append(match.start())
        elif opened:
            pairs[opened.pop()] = match.start()
    return pairs, depth


def _balanced(token: str) -> str:
    """The token with parentheses that have no partner escaped."""
    pairs, _ = _pairs(token, "()")
    partners = {*pairs.keys(), *pairs.values()}
    return re.sub(r"(?<!\\)[()]", lambda m: m[0] if m.start() in partners else "\\" + m[0], token)


def _words(token: str) -> str:
    """The words of weighted text, without parentheses and numbers."""
    bare = re.sub(NUMBER + r"\)", ")", token)
    return squash(re.sub(r"\\([()])|[()]", lambda m: m[1] or "", bare))


def _unescaped(text: str) -> str:
    return re.sub(r"\\([(){}])", r"\1", text)


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
    text = _escaped_braces(text, notes)
    return squash(re.sub(r"(?<!\w)embedding:\s*", "embedding ", text))


def _escaped_braces(text: str, notes: list[str]) -> str:
    pairs, _ = _pairs(text, "{}")
    harmless = set() if "|" in text or "$$" in text else {*pairs.keys(), *pairs.values()}
    escaped = re.sub(r"(?<!\\)[{}]", lambda m: m[0] if m.start() in harmless else "\\" + m[0], text)
    if escaped != text:
        notes.append("Braces of the refined text were escaped, because they would make a random choice.")
    return escaped


# Putting back what the artist wrote


def _put_back(text: str, items: _Items, phrases: dict[str, str], notes: list[str]) -> str:
    """The text with every required item in it: in its place where the text still shows it, otherwise at the end."""
    missing = [number for number in items.required if chr(FIRST_MARK + number) not in text]
    placed: list[str] = []
    for number in sorted(missing, key=lambda number: -len(items.all[number].words)):
        item, mark = items.all[number], chr(FIRST_MARK + number)
        before = text
        if item.kind == "weight" and sum(map(str.isalnum, item.words)) >= (3 if item.words.isascii() else 1):
            text = _replaced(text, re.sub(r"[()]", r"\\\g<0>", item.words), mark)
        elif item.kind == "choice" and item.after and "$" not in item.text:
            for option in item.text.strip("{}").split("|"):
                if text == before and option.strip():
                    text = _replaced(text, f"{option.strip()} {item.after}", f"{mark} {item.after}")
        if text != before:
            placed.append(item.text)
    rest = [number for number in missing if chr(FIRST_MARK + number) not in text]
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


def _appended(text: str, parts: Sequence[str]) -> str:
    text = text.rstrip(", ")
    joint = " " if text.endswith(tuple(".!?…。！？")) else ", "
    return text + (joint if text else "") + ", ".join(parts)


def _with_room(text: str, items: _Items) -> str:
    """Space around embeddings: ComfyUI finds them only after one, and takes what follows directly for part of the name."""
    marks = "".join(chr(FIRST_MARK + i) for i, item in enumerate(items.all) if item.kind == "embedding")
    if not marks:
        return text
    text = re.sub(rf"(?<=[^\s])(?=[{marks}])", " ", text)
    return squash(re.sub(rf"([{marks}])(?:{NUMBER}(?!\w))?(?=[^\s,]|$)", r"\1 ", text))


def _replaced(text: str, phrase: str, mark: str, every: bool = False) -> str:
    """The text with the first place (or every place) of the phrase, in any case of letters, replaced by the mark."""
    folded, sought = _fold(text), _fold(phrase)
    place = _place(folded, sought)
    while place >= 0:
        text = text[:place] + mark + text[place + len(phrase) :]
        folded = folded[:place] + mark + folded[place + len(phrase) :]
        place = _place(folded, sought, place + len(mark)) if every else -1
    return text


def _place(folded: str, sought: str, start: int = 0) -> int:
    """Where the phrase stands as whole words, or -1. Scripts that join words without spaces have no such edges."""
    place = folded.find(sought, start)
    while place >= 0:
        end = place + len(sought)
        inside = (_joined(folded[place - 1 : place], sought[:1]), _joined(sought[-1:], folded[end : end + 1]))
        if not any(inside):
            return place
        place = folded.find(sought, place + 1)
    return -1


def _joined(left: str, right: str) -> bool:
    return all(c and c < "\u0590" and (c.isalnum() or c == "_") for c in (left, right))


def _fold(text: str) -> str:
    """Lower case of the same length, so that places stay the same."""
    lower = text.lower()
    return (
        lower if len(lower) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)
    )


def _listed(texts: Iterable[str]) -> str:
    shown = [text if len(text) <= 60 else text[:59] + "…" for text in texts]
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")
