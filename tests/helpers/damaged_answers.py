"""Answers in the published format, ways to damage them, and an independent reading of their score lines."""

from __future__ import annotations

import random
import re
from typing import Any

from rational_rewards.models.rubrics.rubric import Rubric, load_rubric

SCORES = ["3.5", "2.0", "1.4", "3.9", "2.7", "1.0", "4.0", "3.1"]
HATS = ["a hat", "ein Hut", "一顶帽子", "قبعة", "шляпа"]


def pieces(rubric: Rubric, parts: dict[str, str], score_first: bool = False) -> list[tuple[str, str]]:
    """(key, text) of an answer in the published format: one piece a heading, with what stands behind it."""
    items = list(rubric.answer)
    if score_first:
        by_dimension = [[i for i in items if i.dimension is d] for d in rubric.dimensions]
        before = [i for i in items[: items.index(by_dimension[0][0])]]
        after = items[items.index(by_dimension[-1][-1]) + 1 :]
        items = before + [i for one in by_dimension for i in (one[0], *one[2:], one[1])] + after
    found = []
    for item in items:
        said = parts.get(item.key, "") if item.key else ""
        inline = item.heading.endswith(":")
        found.append(
            (item.key, f"{item.heading}{' ' if inline else chr(10)}{said}\n" if said else f"{item.heading}\n")
        )
    return found


def render(rubric: Rubric, parts: dict[str, str], score_first: bool = False) -> str:
    """An answer in the published format."""
    return "".join(text for _, text in pieces(rubric, parts, score_first))


def sample(rubric: Rubric, chance: random.Random) -> dict[str, str]:
    """Texts and scores for every key of a rubric; every dimension has scores of its own."""
    values = chance.sample(SCORES, len(SCORES))
    parts = {}
    for item in rubric.answer:
        if item.kind == "text":
            parts[item.key] = f"What I see for {item.key}: {chance.choice(HATS)}."
        elif item.kind == "score":
            parts[item.key] = "N/A" if chance.random() < 0.1 and not rubric.pair else values.pop()
        elif item.kind == "winner":
            parts[item.key] = chance.choice(["Image A", "Image B", "It's a tie"])
    return parts


# ------------------------------------------------ ways to write one answer, none of which costs a score

T2I = """# User Request Analysis
A red cat on a sofa, and a sign that says "OPEN".
# Detailed Judgement
1. Text Faithfulness:
## Justification: The cat is red and sits on the sofa.
## Score: 3.5
2. Physical and Visual Quality:
## Justification: The left paw has six toes.
## Score: 2.0
3. Text Rendering:
## Justification: The sign says "OPNE".
## Score: 1.5
# Summary: Good idea, poor details.
# User Request Refinement:
## Refinement Comments: Name the number of toes and spell the word.
## Refined Request: A red cat with four toes on each paw sits on a sofa.
A sign above it says "OPEN".
"""
SAME = {
    "bold headings": lambda t: re.sub(r"(?m)^(#+ )(.*?:)", r"\1**\2**", t),
    "bold words before the colon": lambda t: re.sub(r"(?m)^## ([A-Za-z ]+):", r"**\1**:", t),
    "bold words with the colon": lambda t: re.sub(r"(?m)^## ([A-Za-z ]+):", r"**\1:**", t),
    "bold lines": lambda t: re.sub(r"(?m)^(## Score.*)$", r"**\1**", t),
    "bracketed headings": lambda t: re.sub(r"(?m)^## ([A-Za-z ]+):", r"[\1]:", t),
    "deeper headings": lambda t: t.replace("## ", "#### "),
    "no marks": lambda t: t.replace("## ", ""),
    "no colons": lambda t: re.sub(r"(?m)^(#+ [A-Za-z ]+):[ \t]*", r"\1\n", t),
    "full-width colons": lambda t: re.sub(r"(?m)^(#+ [A-Za-z ]+):", r"\1：", t),
    "headings in capitals": lambda t: re.sub(r"(?m)^#+ [A-Za-z ]+", lambda m: m[0].upper(), t),
    "American spelling": lambda t: t.replace("Judgement", "Judgment"),
    "dimensions as headings": lambda t: re.sub(r"(?m)^(\d\. .*):$", r"## \1", t),
    "bold dimensions": lambda t: re.sub(r"(?m)^(\d\.) (.*):$", r"\1 **\2**:", t),
    "dimensions in bold lines": lambda t: re.sub(r"(?m)^(\d\. .*):$", r"**\1**", t),
    "no dimension numbers": lambda t: re.sub(r"(?m)^\d\. (.*):$", r"\1:", t),
    "no dimension numbers, as headings": lambda t: re.sub(r"(?m)^\d\. (.*):$", r"### \1", t),
    "wrong dimension numbers": lambda t: re.sub(r"(?m)^\d\. (.*):$", r"1. \1:", t),
    "numbers in brackets": lambda t: re.sub(r"(?m)^(\d)\. (.*):$", r"(\1) \2:", t),
    "text on the next line": lambda t: re.sub(r"(?m)^(#+ [A-Za-z ]+:) ", r"\1\n", t),
    "text after a blank line": lambda t: re.sub(r"(?m)^(#+ [A-Za-z ]+:) ", r"\1\n\n", t),
    "blank lines everywhere": lambda t: t.replace("\n#", "\n\n#").replace("\n2. ", "\n\n\n2. "),
    "rules between sections": lambda t: re.sub(r"(?m)^(\d\. |# )", r"---\n\1", t),
    "bulleted headings": lambda t: re.sub(r"(?m)^## (Justification|Score)", r"   - **\1**", t),
    "Windows line ends": lambda t: t.replace("\n", "\r\n"),
    "an empty thinking block": lambda t: f"<think>\n\n</think>\n\n{t}",
    "a thinking block": lambda t: f"<think>\nMaybe\n1. Text Faithfulness:\n## Score: 1.0\n</think>\n{t}",
    "a thinking block opened in the prompt": lambda t: (
        f"Maybe\n1. Text Faithfulness:\n## Score: 1.0\n</think>\n\n{t}"
    ),
    "a draft before the end of a thinking block": lambda t: (
        T2I.replace("Score: 3.5", "Score: 1.0") + "</think>\n" + t
    ),
    "a thinking block that lost its end": lambda t: f"<think>\n\n{t}",
    "a code fence": lambda t: f"```\n{t}```\n",
    "a code fence and a preamble": lambda t: f"Here you are:\n```markdown\n{t}```\nAnything else?",
    "a preamble": lambda t: f"Sure! Here is my evaluation (scores: 1 to 4).\n\n{t}",
    "a closing remark behind a rule": lambda t: f"{t}\n---\nLet me know if you need more.",
    "a closing remark below a heading": lambda t: f"{t}\n## Note: scores are my opinion.",
    "an echo of the answer's format": lambda t: load_rubric("t2i")._answer_text() + "\n\n" + t,
    "the same answer twice": lambda t: t + "\n" + t,
    "every line of a score twice": lambda t: re.sub(r"(?m)^(## Score.*\n)", r"\1\1", t),
    "the start of the answer once more": lambda t: t + "\n" + t[:300],
    "an unknown dimension": lambda t: t.replace(
        "# Summary", "4. Mood:\n## Justification: Gloomy.\n## Score: 1.1\n# Summary"
    ),
    "an unknown dimension in between": lambda t: t.replace(
        "2. Phys", "9. Mood:\n## Justification: x\n## Score: 1.1\n2. Phys"
    ),
    "an unknown heading in between": lambda t: t.replace(
        "2. Phys", "## Mood\nGloomy.\n## Score: 1.1\n2. Phys"
    ),
    "score lines quoted in the analysis": lambda t: t.replace(
        "A red cat", "The request says\n## Score: 4.0\n\nA red cat", 1
    ),
    "a whole dimension quoted in the analysis": lambda t: t.replace(
        "A red cat", "1. Text Faithfulness:\n## Justification: perfect\n## Score: 4.0\nA red cat", 1
    ),
    "the dimensions listed in the analysis": lambda t: t.replace(
        "A red cat",
        "1. Text Faithfulness: look for the cat\n2. Physical and Visual Quality: toes\nA red cat",
        1,
    ),
    "the dimensions listed in the comments": lambda t: t.replace(
        "Name the", "\n1. Text Faithfulness: fine.\n3. Text Rendering: spell it.\nName the"
    ),
    "a score in the summary": lambda t: t.replace("Good idea", "\n## Score: 4.0\nGood idea"),
    "a line like a heading in a justification": lambda t: t.replace(
        "The left", "Cat.\nSummary: so so.\nScore was high.\nThe left"
    ),
    "a list in a justification": lambda t: t.replace(
        "The left", "\n1. Toes:\n- six\n2. Light:\n- flat\n3. Text Rendering: -\nThe left"
    ),
}

# ---------------------------------------------------------------- ways to damage an answer

UNKNOWN = ["Colour Harmony", "Mood and Story"]
NOISE = [
    "\u200b",
    "\ufeff",
    "\u200e",
    "\u00a0",
    "\u3000",
    "\u2028",
    "\x00",
    "é",
    "字",
    "👩‍🎨",
    "#",
    "*",
    "`",
    ":",
    "\n",
    "7",
    ".",
    "-",
    "\t",
    "\r",
]


def on_lines(change: Any) -> Any:
    """A damage of single lines: `change(lines, place, chance)`."""

    def damage(text: str, chance: random.Random) -> str:
        lines = text.split("\n")
        change(lines, chance.randrange(len(lines)), chance)
        return "\n".join(lines)

    return damage


def swap(lines: list[str], place: int, chance: random.Random) -> None:
    other = chance.randrange(len(lines))
    lines[place], lines[other] = lines[other], lines[place]


def cut(text: str, chance: random.Random) -> str:
    return text[: chance.randint(len(text) // 3, len(text))]


def noise(text: str, chance: random.Random) -> str:
    place = chance.randrange(len(text) + 1)
    return (
        text[:place]
        + chance.choice(NOISE) * chance.choice([1, 1, 3])
        + text[place + chance.choice([0, 0, 1, 4]) :]
    )


def decorate(text: str, chance: random.Random) -> str:
    marks, words = (
        chance.choice([("**", "**"), ("### ", ""), ("", ""), ("[", "]"), ("- **", "**"), ("__", "__")]),
        r"\1",
    )
    heading = chance.choice(
        [r"Score", r"Score [AB]", r"Justification", r"[A-Z][a-z]+ [A-Z][a-z]+", r"\d\. [A-Z].*"]
    )
    return re.sub(rf"(?m)^#* ?({heading}):", f"{marks[0]}{words}{marks[1]}:", text)


def quote(text: str, chance: random.Random) -> str:
    fake = (
        f"The request reads:\n## Score: {chance.choice(SCORES)}\n1. Text Faithfulness:\n## Score A: "
        f"4.0\nand so on\n"
    )
    return text.replace("# Detailed Judgement", fake + "# Detailed Judgement", 1)


def unknown(text: str, chance: random.Random) -> str:
    lines = text.split("\n")
    starts = [place for place, line in enumerate(lines) if re.match(r"(?:#+ )?\d\. |# Summary", line)] or [
        len(lines)
    ]
    place = chance.choice(starts)
    lines[place:place] = [
        f"{chance.randint(5, 9)}. {chance.choice(UNKNOWN)}:",
        "## Justification: Harsh.",
        f"## Score: {chance.choice(SCORES)}",
    ]
    return "\n".join(lines)


DAMAGES = [
    on_lines(lambda lines, place, chance: lines.pop(place)),
    on_lines(lambda lines, place, chance: lines.pop(place)),
    on_lines(lambda lines, place, chance: lines.insert(chance.randrange(len(lines)), lines[place])),
    on_lines(lambda lines, place, chance: lines.insert(place, "")),
    on_lines(
        lambda lines, place, chance: lines.__setitem__(
            place, lines[place][: chance.randint(0, len(lines[place]))]
        )
    ),
    on_lines(lambda lines, place, chance: lines.__setitem__(place, f"**{lines[place]}**")),
    on_lines(lambda lines, place, chance: lines.__setitem__(place, lines[place].replace(": ", ":\n", 1))),
    on_lines(swap),
    cut,
    noise,
    noise,
    decorate,
    quote,
    unknown,
    lambda text, chance: text.replace("\n", "\r\n") if "\r" not in text else text,
    lambda text, chance: f"<think>\n{chance.choice(['', '## Score: 1.0'])}\n</think>\n{text}",
    lambda text, chance: f"```\n{text}\n```\n",
    lambda text, chance: f"Of course.\n{text}\nI hope this helps: 4 of 4!",
    lambda text, chance: text + text[: chance.randint(0, len(text))],
    lambda text, chance: text.replace("\n2. ", "\n", 1),
]


def numbers_by_dimension(text: str, rubric: Rubric) -> dict[tuple[str, str], set[float]]:
    """All numbers of the score lines below each dimension's heading, found in a way of its own: the judge of
    the parser.
    """
    allowed: dict[tuple[str, str], set[float]] = {
        (d.key, n): set() for d in rubric.dimensions for n in ("score", "score_a", "score_b")
    }
    names = {d.name.lower(): d.key for d in rubric.dimensions} | {name.lower(): "" for name in UNKNOWN}
    sections = [
        "summary",
        "user request analysis",
        "detailed judgement",
        "user request refinement",
        "refined request",
    ]
    dimension, line_of = "", ""
    marks = r"[ \u200b\ufeff\u200e#*_`\[-]*"
    for line in re.sub(r"[ \t\r\u00a0\u3000]+", " ", text.replace("\r\n", "\n")).split("\n"):
        words = re.sub(rf"^{marks}(?:\d+[.)](?!\d))?{marks}", "", line).lower()
        anyhow = re.sub(r"^[\W_]*", "", line).lower()
        if named := next(
            (name for name in names if re.match(rf"{name}[\W_]*?(?:[:：]|[\W_]*$)", words)), None
        ):
            dimension, line_of = names[named], ""
        elif any(re.match(rf"{name}[\W_]*(?::|$)", words) for name in sections):
            dimension = line_of = ""
        elif found := re.match(r"(score(?:\s+[ab])?)(?![a-z])", anyhow):
            line_of, line = "_".join(found[1].split()), anyhow[found.end() :]
        elif re.match(r"(justification|winner)\b", words):
            line_of = ""
        if dimension and line_of:
            tokens = re.findall(
                r"(?<![\d.,])\d(?:[.,]\d+)?(?![\d.,]*\d)", re.sub(r"[\u200b\ufeff\u200e]", "", line)
            )
            allowed[dimension, line_of] |= {float(token.replace(",", ".")) for token in tokens}
    return allowed
