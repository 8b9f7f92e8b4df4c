"""The critic's refined prompt without its formatting: one paragraph, no labels, quotes, list marks, emphasis
and remarks.
"""

from __future__ import annotations

import re
import unicodedata

# Private use characters: one stands for a piece of the artist's syntax while the text around it is worked on.
FIRST_MARK, LAST_MARK = 0xF0000, 0x10FFFD
MARK = f"[{chr(FIRST_MARK)}-{chr(LAST_MARK)}]"

FENCE = re.compile(r"```[^\n`]*\n(.+?)(?:```|\Z)", re.DOTALL)
_NAMED = r"(?:prompt|request|instructions?|description|version)"
LABEL = re.compile(
    r"[\s*_#>]*(?:(?:sure|certainly|of course|okay)\b[!,. ]*)?(?:"
    rf"here(?:'s|’s| is)\b[^.:\n]{{0,60}}\b{_NAMED}\b[^.:\n]{{0,40}}:"
    r"|(?:(?:the|your)\s+)?(?:refined|revised|improved|rewritten|updated|final|new|optimi[sz]ed|enhanced)"
    rf"\s+(?:(?:user|image|edit|editing|text)\s+){{0,3}}{_NAMED}\b(?:\s+(?:is|reads))?[*_\s]*(?::|$)"
    r"|(?:prompt|request)[*_]*:)[*_\s]*",
    re.IGNORECASE,
)
REMARK = re.compile(
    r"[*_\s(]*(?:(?:notes?|explanation|rationale|reasoning|comments?|changes(?: made)?|key "
    r"changes|negative prompt|why)[*_ ]*:"
    r"|this (?:refined|revised|rewritten|improved) |this (?:prompt|request|version|revision) (?:now |also "
    r")?(?:adds|keeps|makes|ensures|"
    r"clarifies|addresses|specifies|should)\b|these (?:changes|additions|adjustments) |i(?:'ve|’ve| have) "
    r"|let me know|feel free)",
    re.IGNORECASE,
)
SENTENCE_ENDS = tuple(".,;:!?…。，、；：！？")
QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "«": "»", "「": "」", "『": "』"}


def sane(text: str) -> str:
    """Without control characters (ComfyUI uses some as its own marks), half characters and our own marks."""
    text = re.sub("\r\n?|[\u2028\u2029]", "\n", text)
    text = re.sub(rf"{MARK}|[\ud800-\udfff\ufeff]", "", text)
    return "".join(" " if c != "\n" and unicodedata.category(c) == "Cc" else c for c in text)


def squash(text: str) -> str:
    """The text on one line, with single spaces."""
    return " ".join(text.split())


def cleaned(text: str, notes: list[str]) -> str:
    """One paragraph without labels, quotes, list marks, emphasis and remarks."""
    for _ in range(10):
        before = text
        text = _unquoted(_one_paragraph(text, notes))
        text = re.sub(r"\\n(?=\\n|[\s•*-]|[A-Z]|$)", " ", text)
        text = re.sub(r"\\(?![(){}])", "", text.replace("`", ""))
        text = re.sub(r"</?(?:b|i|u|em|strong|br|p)\s?/?>|<\|[a-z_]{1,30}\|>", " ", text, flags=re.IGNORECASE)
        text = re.sub(r"(?<=[^\W_])_{2,}(?=[^\W_])", "_", text)
        text = re.sub(r"\*{2,}|_{2,}", "", text)
        text = re.sub(r"(?<![\w*])\*(?=[^\s*])([^*]{0,200}[^\s*])\*(?![\w*])", r"\1", text)
        text = squash(text)
        if text == before:
            break
    return text


def _one_paragraph(text: str, notes: list[str]) -> str:
    if fence := FENCE.search(text):
        text = fence[1]
    lines = [line.strip() for line in text.split("\n")]
    list_mark = r"^(?:(?:#{1,6}|[>•*-])\s+)+"
    # A single number at the start of a line is not a list.
    if len([line for line in lines if re.match(r"\d{1,2}[.)]\s", line)]) > 1:
        list_mark += r"|^\d{1,2}[.)]\s+"
    out = ""
    for line in lines:
        rule = re.fullmatch(r"[-*_=]{3,}", line)
        if out and (rule or re.match(r"#{1,6}\s", line) or REMARK.match(line)):
            notes.append("A remark after the refined prompt was left out.")
            break
        entry = "" if rule else re.sub(list_mark, "", line)
        listed = entry != line and not out.endswith(SENTENCE_ENDS)
        joint = ", " if listed else " "
        if not out:
            out = LABEL.sub("", entry, count=1) if LABEL.match(entry) else entry
        elif entry:
            out += joint + entry
    return squash(out)


def _unquoted(text: str) -> str:
    while len(text) > 1 and QUOTES.get(text[0]) == text[-1] and not set(text[1:-1]) & {text[0], text[-1]}:
        text = text[1:-1].strip()
    return text
