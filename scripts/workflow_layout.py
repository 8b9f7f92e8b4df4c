"""Where the nodes and groups of a workflow stand: groups from left to right, in each group columns, in each
column nodes from top to bottom.
"""

from __future__ import annotations

from typing import Any

from workflow_parts import Workflow

# Height of a node's title bar.
TITLE = 30
# Between the nodes of a column, between columns, and between groups, which pad what they enclose.
NODE_GAP, COLUMN_GAP, GROUP_GAP = 30, 44, 16
PADDING, HEADING = 14, 58
# Heights that these nodes need in Nodes 2.0 with a result on their panel; the classic canvas needs less.
NODES_2 = {
    "RationalRewardsCritique": 510,
    "RationalRewardsScore": 590,
    "RationalRewardsCompare": 640,
    "RationalRewardsRefinePrompt": 380,
}
# The first view: the canvas that a window of 1600 x 1000 leaves, where the graph begins in it, and the
# smallest zoom at which its texts can be read.
ROOM, CORNER, LEGIBLE = (1480, 830), (90, 90), 0.7


def low(workflow: Workflow, name: str, least: dict[str, float]) -> float:
    """Height of a node's body without filling."""
    node = workflow.nodes[name]
    return max(node.height, least[name], NODES_2.get(node.type, 0))


def layout(
    workflow: Workflow, least: dict[str, float]
) -> tuple[dict[str, list[float]], list[dict[str, Any]]]:
    """Boxes of the nodes (x, y, width, height of the body) and of the groups; all groups end at the same
    height.
    """
    bodies = [
        sum(low(workflow, name, least) + TITLE + NODE_GAP for name in names) - NODE_GAP
        for group in workflow.groups
        for _, names in group.columns
    ]
    tallest = max(bodies)
    nodes: dict[str, list[float]] = {}
    groups = []
    x = 0.0
    for group in workflow.groups:
        start = x
        x += PADDING
        for width, names in group.columns:
            y = HEADING
            used = sum(low(workflow, name, least) + TITLE + NODE_GAP for name in names) - NODE_GAP
            filling = [name for name in names if workflow.nodes[name].fill]
            for name in names:
                height = low(workflow, name, least) + (
                    round(tallest - used) // len(filling) if name in filling else 0
                )
                nodes[name] = [x, y + TITLE, width, height]
                y += height + TITLE + NODE_GAP
            x += width + COLUMN_GAP
        x += PADDING - COLUMN_GAP
        groups.append(
            {
                "title": group.title,
                "color": group.color,
                "box": [start, 0, x - start, HEADING + tallest + PADDING],
            }
        )
        x += GROUP_GAP
    return nodes, groups


def first_view(groups: list[dict[str, Any]]) -> dict[str, Any]:
    """Where the canvas opens: all of the graph where it stays legible so, else its start."""
    right = max(group["box"][0] + group["box"][2] for group in groups)
    bottom = max(group["box"][1] + group["box"][3] for group in groups)
    scale = min(1.0, max(LEGIBLE, min(ROOM[0] / right, ROOM[1] / bottom)))
    return {"scale": round(scale, 2), "offset": [round(CORNER[0] / scale), round(CORNER[1] / scale)]}
