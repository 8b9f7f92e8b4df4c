"""The demo's page: one HTML file that holds everything it shows. It loads nothing and runs nothing."""

from __future__ import annotations

import base64
import difflib
import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from PIL import Image

from ..models.cards.layout import score_in_words
from ..models.errors import RationalRewardsError
from ..models.files import write_text
from ..models.judgement import Dimension, Judgement
from .rounds import Look, Round, shown, totals
from .scene import Flaw
from .sentences import summed_up

STYLE = Path(__file__).with_name("page.css")
# Pixels.
THUMBNAIL = 64
# Nothing may be loaded or run, whatever a prompt or a critic wrote.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
LEAD = (
    "A painter with bad habits painted each prompt. A critic saw the prompt and the image, and nothing else; "
    "it said what is wrong, gave scores and rewrote the prompt. The painter painted again with the same "
    "seed. The world of coloured shapes is known exactly, so the critic’s words can be held against "
    "the truth."
)
ARROW = '<span class="arrow" role="img" aria-label="to">→</span>'


def write_page(rounds: Sequence[Round], path: str | Path, title: str, facts: Mapping[str, str]) -> Path:
    """Write the page and return its full path; `facts` are shown by their titles.

    Raises RationalRewardsError where it cannot be written.
    """
    target = Path(path).expanduser().absolute()
    try:
        write_text(target, page(rounds, title, facts))
    except OSError as error:
        raise RationalRewardsError(
            f"The page cannot be written to {target} ({error.strerror}): choose another file."
        ) from error
    return target


def page(rounds: Sequence[Round], title: str, facts: Mapping[str, str]) -> str:
    """The page's HTML."""
    rows = "".join(_row(number, one) for number, one in enumerate(rounds, 1))
    known = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(fact)}</dd></div>" for name, fact in facts.items()
    )
    articles = "".join(_article(number, one) for number, one in enumerate(rounds, 1))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<style>
{STYLE.read_text(encoding="utf-8")}</style>
</head>
<body>
<main>
<header>
<h1>{escape(title)}</h1>
<p class="lead">{LEAD}</p>
{_headline(rounds)}
</header>
<table>
<thead><tr>
<th colspan="2">Images</th><th>Prompt</th><th>Score</th><th>The critic named</th><th>True flaws</th>
</tr></thead>
<tbody>{rows}</tbody>
</table>
<dl class="facts">{known}</dl>
{articles}
</main>
</body>
</html>
"""


def word_diff(before: str, after: str) -> list[tuple[str, str]]:
    """What changed, word by word: ("same" | "gone" | "new", text) in reading order."""
    old, new = (re.findall(r"[\w-]+|[^\w\s]", text) for text in (before, after))
    found = []
    for kind, i, j, k, m in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            found.append(("same", _joined(old[i:j])))
            continue
        found += [("gone", _joined(old[i:j]))] * (i < j) + [("new", _joined(new[k:m]))] * (k < m)
    return found


def _joined(words: list[str]) -> str:
    return re.sub(r" ([,.;:!?])", r"\1", " ".join(words))


def _headline(rounds: Sequence[Round]) -> str:
    (score, flaws), (score_after, flaws_after) = totals(rounds)
    return (
        '<div class="headline">'
        f"<p><strong>{shown(score)} {ARROW} {shown(score_after)}</strong>"
        "<span>mean score from the critic, 0 to 1</span></p>"
        f"<p><strong>{flaws} {ARROW} {flaws_after}</strong>"
        f"<span>true flaws in {len(rounds)} images</span></p></div>"
    )


def _row(number: int, one: Round) -> str:
    images = [
        _image(_small(look.image), f"{which} picture", 44)
        for look, which in ((one.first, "First"), (one.second, "Second"))
    ]
    return (
        f'<tr><td class="small">{images[0]}</td><td class="small">{images[1]}</td>'
        f'<td class="prompt"><a href="#prompt-{number}">{escape(one.prompt)}</a></td>'
        f'<td class="number">{shown(one.first.judgement.score)} {ARROW} '
        f"<b>{shown(one.second.judgement.score)}</b></td>"
        f'<td class="named">{escape(one.first.judgement.summary)}</td>'
        f'<td class="number">{len(one.first.flaws)} {ARROW} <b>{len(one.second.flaws)}</b></td></tr>\n'
    )


def _article(number: int, one: Round) -> str:
    scores = f"{shown(one.first.judgement.score)} {ARROW} <b>{shown(one.second.judgement.score)}</b>"
    kind = ' class="unchanged"' if one.prompt == one.refined_prompt else ""
    return f"""<article id="prompt-{number}"{kind}>
<h2><span>Prompt {number}</span><span class="number">{scores}</span></h2>
<section>
<h3>First picture</h3>
<p class="words">{escape(one.prompt)}</p>
{_look(one.first, f"First picture for: {one.prompt}")}
<div class="dimensions">{_dimensions(one.first.judgement)}</div>
</section>
<section>
{_second(one)}</section>
</article>
"""


def _second(one: Round) -> str:
    if one.prompt == one.refined_prompt:
        return '<p class="same">The critic left the prompt as it is, so the picture stays the same.</p>\n'
    return f"""<h3>Second picture, refined prompt</h3>
<p class="words">{_diff(one.prompt, one.refined_prompt)}</p>
{_look(one.second, f"Second picture for: {one.refined_prompt}")}
<div class="dimensions">{_dimensions(one.second.judgement, one.first.judgement)}</div>
"""


def _look(look: Look, alt: str) -> str:
    judgement = look.judgement
    notes = "".join(f"<p>{escape(note)}</p>" for note in judgement.notes)
    return (
        f'<div class="look">{_image(look.image, alt, 2 * look.image.width)}<div class="says">'
        f'<p class="score">{shown(judgement.score)}</p>'
        f"<p>{escape(judgement.summary) or 'No summary.'}</p>{notes}"
        f'<p class="truth">The truth: {_truth(look.flaws)}</p></div></div>'
    )


def _truth(flaws: Sequence[Flaw]) -> str:
    return escape(summed_up(flaws)[:1].lower() + summed_up(flaws)[1:])


def _dimensions(judgement: Judgement, before: Judgement | None = None) -> str:
    return "".join(
        _dimension(one, before and before.dimensions.get(key)) for key, one in judgement.dimensions.items()
    )


def _dimension(one: Dimension, before: Dimension | None) -> str:
    number = score_in_words(one)
    if before is not None and one.score is not None:
        number = f'<span class="before">{score_in_words(before)} {ARROW}</span> {number}'
    level = 0 if one.score is None else min(max(round(one.score), 1), 4)
    fields = "".join(f'<i style="--full:{_full(one.score, place):.0%}"></i>' for place in range(4))
    kind = "dimension" if one.score is not None else "dimension quiet"
    return (
        f'<div class="{kind}"><h4>{escape(one.name)}</h4><p class="number">{number}</p>'
        f'<div class="bar level-{level}" aria-hidden="true">{fields}</div>'
        f'<p class="why">{escape(one.justification)}</p></div>'
    )


def _full(score: float | None, place: int) -> float:
    """How far the field at that place (0..3) of a bar is filled, 0..1."""
    return min(max((score or 0.0) - place, 0.0), 1.0)


def _diff(before: str, after: str) -> str:
    tags = {"same": ("", ""), "gone": ("<del>", "</del>"), "new": ("<ins>", "</ins>")}
    parts = []
    for kind, text in word_diff(before, after):
        glue = " " if parts and not text.startswith((",", ".", ";", ":", "!", "?")) else ""
        parts.append(f"{glue}{tags[kind][0]}{escape(text)}{tags[kind][1]}")
    return "".join(parts)


def _small(image: Image.Image) -> Image.Image:
    return image.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)


def _image(image: Image.Image, alt: str, width: int) -> str:
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    data = base64.b64encode(file.getvalue()).decode("ascii")
    return f'<img src="data:image/png;base64,{data}" alt="{escape(alt)}" width="{width}" height="{width}">'
