"""The same rationale with A and B exchanged, where its words can be exchanged safely.

"Image A" is a name, the A of "A cat" is an article, and the B of "plan B" is neither. Whatever cannot be told
apart makes the whole text unsafe: then there is no mirrored text, because a wrong one would teach the student
to name the wrong picture.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_NOUN = (
    r"(?:images?|pictures?|photos?|candidates?|versions?|options?|edits?|results?|outputs?|samples?|renderings?|renditions?|generations?"
    r"|submissions?|winner|scores?|entry|entries)"
)
_LETTER = r"[AB](?![\w\-+])"
_JOIN = r"\s*(?:,\s*and|,|/|&|\band\b|\bor\b|\bvs\b\.?|\bversus\b|\bthan\b|\bover\b|\bto\b|>|<|=)\s*"
# "Image A", "Images A and B", "picture B or picture A", "Winner: A"
_NAMED = re.compile(
    rf"(?<![\w\-])(?:(?i:{_NOUN})[ \t]+\(?|(?i:winner|scores?):[ "
    rf"\t]*){_LETTER}(?:{_JOIN}(?:(?i:the\s+)?(?i:{_NOUN})\s+)?{_LETTER})*"
)
_BARE = re.compile(r"(?<![\w\-'’])(?<![A-Z]\.)[AB](?![\w\-+])(?!\.\w)")
_QUOTED = re.compile(
    r"\"[^\"\n]{0,200}\"|“[^”\n]{0,200}”|«[^»\n]{0,200}»|`[^`\n]{0,200}`|(?<!\w)'[^'\n]{0,80}'(?!\w)"
)
# Names that cannot be exchanged: in lower case, where "image a" may be an article; with a hyphen; by number;
# by place. Where a name and a thing in the picture cannot be told apart ("the first one"), it counts as a
# name: one row is lost, and none is false.
_UNSAFE = re.compile(
    rf"\b{_NOUN}\s+b\b|\b(?i:{_NOUN})\s+[AB][-+]|\b(?i:{_NOUN})\s+#?(?:[12]\b|(?i:one|two)\b(?!\s+(?i:of)\b))"
    rf"|\b(?i:the\s+(?:first|second|left|right)(?:-hand)?\s+(?:\w+\s+)?(?:one|{_NOUN}))\b"
    r"|\b(?i:the\s+(?:first|second|former|latter)\s+(?:is|has|shows|looks|fails|follows|does|wins|keeps|misses))\b"
    r"|\b(?i:(?:than|unlike|to|over|versus|vs\.?)\s+the\s+(?:first|second|former|latter))\b(?!\s+\w)"
)

# A capital letter inside a sentence, behind one of these words, is a name: "than A", "in B". Behind others
# ("vitamin B") it may not be.
_BEFORE = re.compile(
    r"than|in|of|for|and|or|both|over|to|with|from|unlike|while|whereas|but|favor|favors|favour|favours|prefer"
    r"|prefers|versus|vs|against|between|beats|by|that|because|since|so|as|where|although|though|when|if|on|at|is|makes|make|gives|give|puts|ranks|then|only|overall|here|thus|hence|therefore|yet|again|still|also|whether|how|what|which|choose|\w+ly"
)
_VERB = (
    r"(?:is|are|was|were|has|had|does|did|focus(?:es)?|(?!(?:canvas|lens|gas|atlas|series|species|news|always|perhaps|sometimes|towards)\b)"
    r"[a-z]{2,}[^\W_iusA-Z]s)(?![\w-])"
)
_ADVERB = r"(?:\w+ly|better|worse|also|only|both|still|just|even|not|never|always|too)"
_PAST = r"(?:\w*ed|lost|won|kept|drew|got|did|made|lacked|left|met|gave|took|\w*s)"
_MARK = (
    r"(?:['’]s\b|\s*(?:[,:;.)!?=<>/&]|$)"
    r"|\s+(?:and|or|vs|versus|over|than)\s+(?:the\s+)?(?:[Ii]mage\s+)?[AB](?![\w\-+]))"
)
# Never behind an article.
_SURELY = re.compile(rf"{_MARK}|\s+(?:{_ADVERB}\s+)?{_VERB}")
_LIKELY = re.compile(
    rf"{_MARK}|\s*\(|\s+(?:{_VERB}|(?:{_ADVERB}|and|or|in|on|with|for|but|while|whereas|because|since|at|to|by|as|would|could|can|may|will"
    r"|cannot|instead|here|have|do|it|its|they|the|this|there|that)\b)"
)
_UNSURE = re.compile(
    rf"\s+(?:{_ADVERB}\s+{_PAST}\b|(?:also|only|both|still|just|even|not|never|always|too|can|may|will|might|would|could|in|on|with)\b)"
    rf"|\s+(?:missed|failed|lacked|kept|showed|rendered|got|drew|placed|omitted|lost|won|followed|matched|\w*[^\W_su]s)\b"
)
_TEXT_WORDS = re.compile(r"letters?|word|character|sign|text|reads|says|saying|spelled|label|labell?ed")
_SENTENCE_START = re.compile(r"(?:^|[.!?:;\n(\[]|[-*•–—]\s)\s*$")


def swap_letters(text: str, prompt: str = "") -> str | None:
    """The text with the names of the two images exchanged, or None where that is not safe.

    What stands in quotation marks, and the prompt where it is quoted word by word, stays as it is. Swapping
    twice gives the text back.
    """
    if prompt and (_NAMED.search(prompt) or any(found[0] == "B" for found in _BARE.finditer(prompt))):
        # Nobody can tell whose name stands in the rationale.
        return None
    swapped = _swap(text, prompt.strip())
    return swapped if swapped is not None and _swap(swapped, prompt.strip()) == text else None


def _swap(text: str, prompt: str) -> str | None:
    kept = [found.span() for found in _QUOTED.finditer(text)]
    if any(_quoted_name(text, start, end) for start, end in kept):
        return None
    if len(prompt) > 1:
        kept += [found.span() for found in re.finditer(re.escape(prompt), text)]
    out = list(text)
    for start, end in _between(text, kept):
        if _UNSAFE.search(text, start, end):
            return None
        names = [found.span() for found in _NAMED.finditer(text, start, end)]
        for found in _BARE.finditer(text, start, end):
            at = found.start()
            is_name = any(first <= at < last for first, last in names) or _is_name(text, at)
            if is_name is None:
                return None
            if is_name:
                out[at] = "B" if found[0] == "A" else "A"
    return "".join(out)


def _quoted_name(text: str, start: int, end: int) -> bool:
    """Whether a quotation is nothing but a letter or an image's name, and is not writing in the picture."""
    inside = text[start + 1 : end - 1].strip()
    if not (inside in ("A", "B") or _NAMED.fullmatch(inside)):
        return False
    before = re.findall(r"\w+", text[max(0, start - 40) : start].lower())
    return not (before and _TEXT_WORDS.fullmatch(before[-1]))


def _between(text: str, kept: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The stretches of the text between the ones that stay."""
    at = 0
    for start, end in sorted(kept):
        if start > at:
            yield at, start
        at = max(at, end)
    if at < len(text):
        yield at, len(text)


def _is_name(text: str, at: int) -> bool | None:
    """Whether the letter there, which has no "image" before it, names an image; None where nobody can
    tell.
    """
    before, behind = text[max(0, at - 100) : at], text[at + 1 : at + 101]
    if before.endswith("(") and behind.startswith(")"):
        return True
    if _SENTENCE_START.search(before):
        if text[at] == "B":
            return True if _LIKELY.match(behind) else None
        if _SURELY.match(behind):
            return True
        return False if re.match(r"\s+[a-z]", behind) and not _UNSURE.match(behind) else None
    word = re.search(r"([\w'’]+)\W*$", before)
    previous = word[1].lower() if word else ""
    if _TEXT_WORDS.fullmatch(previous):
        return False
    # "and A wins", "than B."; but "in A minor" has a word behind it that no name has
    if re.search(rf"{_LETTER}{_JOIN}$", before):
        return True
    named = _BEFORE.fullmatch(previous) or re.search(r"[,/>=<]\s*$", before)
    return True if named and _LIKELY.match(behind) else None
