"""An evaluation as a report to read."""

from __future__ import annotations

from ..models.markdown import table_cell
from .metrics import Evaluation, Rate, Tally

# Of a kind; the JSON has all.
MOST_IDS = 40
TASKS = {"t2i": "text to image", "edit": "image edit"}


def report(evaluation: Evaluation) -> str:
    """Markdown: the headline, all measures with their intervals, the breakdowns, and the pairs to look at."""
    parts = [_headline(evaluation), _measures(evaluation)]
    names = evaluation.names
    parts.append(
        _breakdown(
            "Dimension alone", {names.get(k, k): tally for k, tally in evaluation.by_dimension.items()}
        )
    )
    groups = {TASKS.get(task, task): tally for task, tally in evaluation.by_task.items()}
    groups |= {f"chosen by {table_cell(chooser)}": tally for chooser, tally in evaluation.by_chooser.items()}
    parts.append(_breakdown("Pairs", groups))
    for title, ids in (
        ("Pairs it got wrong", evaluation.wrong),
        ("Pairs it could not decide", evaluation.tied),
        ("Pairs whose answer could not be read", evaluation.unreadable),
    ):
        if ids:
            more = f" and {len(ids) - MOST_IDS} more" if len(ids) > MOST_IDS else ""
            parts.append(f"**{title} ({len(ids)}).** {', '.join(map(table_cell, ids[:MOST_IDS]))}{more}")
    if evaluation.failed:
        rows = [
            f"- {table_cell(id)}: {sentence}" for id, sentence in list(evaluation.failed.items())[:MOST_IDS]
        ]
        title = f"**Pairs that could not be judged ({len(evaluation.failed)}), not counted.**"
        parts.append("\n".join([title, "", *rows]))
    parts.append(f"*Judged by {table_cell(evaluation.critic)}.*")
    return "\n\n".join(part for part in parts if part)


def percent(rate: Rate) -> str:
    """A share such as "78.3 %", or "none" where there is no case."""
    return "none" if rate.share is None else f"{100 * rate.share:.1f} %"


def between(rate: Rate, digits: int = 1) -> str:
    """The interval of a share such as "70.1 to 84.6 %", or nothing where there is no case."""
    return (
        ""
        if rate.interval is None
        else f"{100 * rate.interval[0]:.{digits}f} to {100 * rate.interval[1]:.{digits}f} %"
    )


def _headline(evaluation: Evaluation) -> str:
    tally, lost = evaluation.tally, len(evaluation.unreadable)
    if tally.accuracy.count:
        text = (
            f"**Accuracy {percent(tally.accuracy)}** (95 % interval {between(tally.accuracy)}) where there was a "
            f"preference ({tally.accuracy.count}): {tally.right} right, {tally.wrong} wrong, {tally.tied} tied by the critic, which count half."
        )
    else:
        text = "**No accuracy:** there is no pair with a preference whose answer could be read."
    if lost:
        text += f" Answers that could not be read: {lost} of {len(evaluation.outcomes)}; they count neither as right nor as wrong."
    return text


def _measures(evaluation: Evaluation) -> str:
    rates = [
        ("Accuracy where there is a preference, ties of the critic half", evaluation.accuracy),
        ("Accuracy over all pairs, a tie being an answer of its own", evaluation.accuracy_with_ties),
        ("Both orders give the same winner", evaluation.order_agreement),
        ("The image shown first wins (50 % is no bias)", evaluation.shown_first_wins),
        ("A wins when A is shown first", evaluation.a_wins),
        ("A was preferred", evaluation.a_preferred),
    ]
    lines = ["| Measure | Share | 95 % interval | Of |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {percent(rate)} | {between(rate)} | {rate.count} |" for name, rate in rates if rate.count
    ]
    if not evaluation.read:
        return ""
    means = evaluation.margins.items()
    shown = ", ".join(
        f"{'none' if value is None else f'{value:.3f}'} where it was {name}" for name, value in means
    )
    orders = (
        "Every pair was judged in both orders."
        if evaluation.both_orders
        else "Every pair was judged with A shown first only."
    )
    return "\n".join(lines) + f"\n\nMean margin: {shown}. {orders}"


def _breakdown(title: str, groups: dict[str, Tally]) -> str:
    if not groups:
        return ""
    lines = [
        f"| {title} | Agrees with the preference | 95 % interval | Right | Wrong | Tied | Both tied |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, tally in groups.items():
        rate, ties = tally.accuracy, f"{tally.both_tied} of {tally.ties}"
        lines.append(
            f"| {name} | {percent(rate)} | {between(rate)} | {tally.right} | {tally.wrong} | {tally.tied} | {ties} |"
        )
    return "\n".join(lines)
