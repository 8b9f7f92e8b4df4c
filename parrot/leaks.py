"""Does a text give away what its writer was shown and the student never sees: the reference, the other image,
the preference?

It looks for phrases that only somebody with a second picture or a comment before them would write. What the
request itself says, and what stands in quotation marks (usually writing in the picture), does not count.
Things inside one picture may be compared with each other. English only, as the rubrics are.
"""

from __future__ import annotations

import re

_PICTURE = (
    r"(?:images?|pictures?|photos?|candidates?|versions?|renderings?|renditions?|results?|outputs?|edits?"
    r"|submissions?|samples?|options?)"
)
_OTHER = (
    r"(?:other|alternative|competing|rival|paired|second|better|worse|stronger|weaker|preferred|winning"
    r"|losing)"
)
_COMMENT = (
    r"(?:comments?|rationales?|critiques?|reviews?|reviewers?|assessments?|evaluations?|judge?ments?|verdicts?|comparisons?|notes?|hints?"
    r"|feedback|annotations?|analysis|remarks?)"
)
_SOURCE_OF_WORDS = r"(?:comments?|remarks?|rationales?|reviewers?|critiques?|comparisons?|reference)"
_SAYS = (
    r"(?:also\s+|rightly\s+|correctly\s+|already\s+)?(?:says?|said|states?|stated|mentions?|mentioned|claims?|claimed|suggests?|suggested"
    r"|indicates?|indicated|observes?|observed|reports?|reported|argues?|points?\s+out|pointed\s+out"
    r"|overstates?|overstated|understates?|understated|exaggerates?|exaggerated|(?:is|are|was|were)\s+right)"
)
# What an edit's source is called, also "the reference image".
_SOURCE = r"(?:images?|pictures?|photos?)"
_GIVEN = (
    r"(?:given|provided|supplied|attached|enclosed|hidden|earlier|previous|prior|preceding|existing|pairwise"
    r"|side-by-side|comparative)"
)

# Letters and numbers behind a capital: "the image a viewer sees" and "in the image two cats sit" name
# nothing. In "A4" or "B-side" the letter is part of a word.
_NAMED = (
    rf"\b(?i:{_PICTURE})\s+\(?[AB](?![\w\-])",
    r"\b(?:Image|Picture|Photo|Candidate|Version|Result|Output|Edit|Option|Sample)\s+#?(?:1|2|One|Two)(?![\w\-.,]*\w)",
    r"\b(?i:than|unlike|versus|vs\.?|compared\s+(?:to|with)|against|beats?|outperforms?)\s+[AB](?![\w\-])",
)
_ALWAYS = (
    # the other image
    rf"\bthe\s+{_OTHER}\s+(?:\w+\s+)?{_PICTURE}\b",
    r"\b(?:than|unlike|versus|vs\.?|to|with)\s+(?:the|its)\s+(?:alternative|competition|competing\s+\w+|rival|counterpart)\b",
    rf"\bthis\s+(?:one|{_PICTURE})\s+(?:is|was|has\s+been)\s+(?:the\s+)?(?:preferred|chosen|favou?red|voted\s+for|winner)\b",
    rf"\bcompar(?:ed|ing|ison|es?|able)\s+(?:it\s+)?(?:to|with|against)\s+(?:its\s+|an?\s+|any\s+)?(?:other|another|alternative|both)\s+(?:\w+\s+)?{_PICTURE}\b",
    r"\b(?:better|worse|stronger|weaker|best|preferred|winner)\s+of\s+the\s+(?:two|pair)\b",
    rf"\bthe\s+(?:first|1st|left|left-hand|right|right-hand)\s+{_PICTURE}\b",
    # the comment
    rf"\breferenced?\s+(?!{_SOURCE}\b)(?:{_COMMENT}|{_PICTURE}|text|answer|description|material|scores?)\b",
    rf"\b(?:the|this|that|your|said)\s+(?:{_GIVEN}\s+)?reference\b(?!\s+(?:sheet|point|line|frame|grid|book|to|{_SOURCE})\b)",
    rf"\b{_GIVEN}\s+(?:\w+\s+)?{_COMMENT}\b",
    rf"\b(?:the|this|that|a|another|one)\s+(?:{_GIVEN}\s+)?{_SOURCE_OF_WORDS}\s+{_SAYS}\b",
    rf"\b(?:according\s+to|(?:dis)?agree(?:s|ing)?\s+with|based\s+on|in\s+line\s+with|consistent\s+with|contrary\s+to|unlike|per)\s+(?:the|this|that)\s+{_SOURCE_OF_WORDS}\b",
    rf"\bas\s+(?:the|this|that|these|those)\s+(?:{_GIVEN}\s+)?{_SOURCE_OF_WORDS}\s+{_SAYS}\b",
    rf"\bas\s+(?:stated|noted|mentioned|described|said|pointed\s+out|observed|discussed)\s+(?:in|by)\s+(?:the|that|this)\s+(?:\w+\s+)?(?:{_SOURCE_OF_WORDS}|reviews?|notes?)\b",
)  # fmt: skip
# The preference itself, which a teacher was told and a student never is.
_LABEL = (
    r"\b(?:human|annotators?['’]?s?|stated|given|known)\s+preferences?\b|\b(?:human|annotators?['’]?s?)\s+choices?\b",
    r"\b(?:human|annotators?['’]?s?|preference)\s+(?:labels?|ratings?|votes?)\b",
    r"\bknown\s+(?:beforehand|in\s+advance|from\s+the\s+(?:start|hint))\b",
    r"\bwhoever\s+(?:looked|saw|chose|judged|compared)\b",
    r"\b(?:I|we)\s+(?:was|were|am|are|have\s+been)\s+(?:told|given|informed)\b",
    r"\b(?:people|users?|humans?|annotators?|raters?|somebody|someone)\s+(?:who\s+\w+\s+(?:\w+\s+){0,3})?(?:preferred|chose|favou?red|picked)\b",
    # labels and hints are also things in pictures: "the label on the bottle", "the hint of a smile"
    rf"\bthe\s+hint\s+(?:{_SAYS}|tells|told|gives|gave|prefers|favou?rs|is\s+that)\b|\bthe\s+label\s+(?:prefers|favou?rs|is\s+that)\b",
    r"\b(?:according\s+to|(?:dis)?agree(?:s|ing)?\s+with|in\s+line\s+with|consistent\s+with|contrary\s+to)\s+the\s+(?:hint|label)\b(?!\s+o[fn]\b)",
)
# With a source beside it, "both images" and "the two images" are the source and its edit.
_WITHOUT_SOURCE = (
    rf"\breferenced?\s+{_SOURCE}\b",
    rf"\bboth\s+(?:of\s+the\s+)?{_PICTURE}\b",
    r"\b(?:compared|in\s+comparison)\s+(?:to|with)\s+the\s+other\s+one\b",
    rf"\b(?:the|these)\s+two\s+{_PICTURE}\b",
    rf"\b(?:compared|in\s+comparison|comparing\s+it)\s+(?:to|with)\s+(?:the|that|this)\s+{_PICTURE}\b",
)
_FIND_NAMED = [re.compile(pattern) for pattern in _NAMED]
_FIND_LABEL = [re.compile(pattern, re.IGNORECASE) for pattern in _LABEL]
_FIND = {
    "edit": [*_FIND_LABEL, *(re.compile(pattern, re.IGNORECASE) for pattern in _ALWAYS)],
    "t2i": [*_FIND_LABEL, *(re.compile(pattern, re.IGNORECASE) for pattern in (*_ALWAYS, *_WITHOUT_SOURCE))],
}
_QUOTED = re.compile(r"\"[^\"\n]{0,200}\"|“[^”\n]{0,200}”|«[^»\n]{0,200}»|`[^`\n]{0,200}`")
_WORD = re.compile(r"\w+")
# Without a last s.
_SMALL = {
    "the",
    "a",
    "an",
    "of",
    "to",
    "with",
    "in",
    "by",
    "it",
    "thi",
    "that",
    "i",
    "wa",
    "than",
    "and",
    "or",
    "",
}


def find_mention(text: str, prompt: str = "", task: str = "t2i") -> str:
    """The first phrase that speaks of the reference or of the other image; empty where there is none.

    A phrase whose telling words all stand in the prompt is about the prompt. With `task` "edit" the source
    image, and the two images before the judge, may be spoken of.
    """
    text = _unquoted(text)
    for pattern in _FIND_NAMED:
        asked_names = {_plain(found[0]) for found in pattern.finditer(prompt)}
        for found in pattern.finditer(text):
            if _plain(found[0]) not in asked_names:
                return found[0]
    return _first(_FIND[task], text, prompt)


def find_label(text: str, prompt: str = "") -> str:
    """The first phrase of a comparison that speaks of the preference as something its writer was told; empty
    where there is none.
    """
    return _first(_FIND_LABEL, _unquoted(text), prompt)


def _first(patterns: list[re.Pattern[str]], text: str, prompt: str) -> str:
    asked = _words(prompt)
    for pattern in patterns:
        for found in pattern.finditer(text):
            if not _words(found[0]) - _SMALL <= asked:
                return found[0]
    return ""


def _unquoted(text: str) -> str:
    return _QUOTED.sub(lambda found: " " * len(found[0]), text)


def _plain(phrase: str) -> str:
    return " ".join(phrase.casefold().split())


def _words(text: str) -> set[str]:
    """The words of a text in lower case, without the s of a plural."""
    return {word.casefold().removesuffix("s") for word in _WORD.findall(text)}
