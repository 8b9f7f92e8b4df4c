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
# Of a lane above the nodes; the topmost lies this far above where nodes without lanes would begin. A link
# from a lane down to its input would bend under nodes where the way is longer than LONGEST_DROP.
LANE, LANE_RISE, LONGEST_DROP = 24, 16, 420
# Heights that these nodes need in Nodes 2.0, those with a panel with a result on it; the classic canvas
# needs less.
NODES_2 = {
    "RationalRewardsCritique": 510,
    "RationalRewardsScore": 590,
    "RationalRewardsCompare": 640,
    "RationalRewardsBestOf": 700,
    "RationalRewardsRefinePrompt": 380,
    "RationalRewardsLoopEnd": 830,
    "RationalRewardsLoadShapesGenerator": 104,
    "TrainLoraNode": 608,
    "SaveLoRA": 128,
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
    top = HEADING + LANE * len(workflow.lanes)
    nodes: dict[str, list[float]] = {}
    groups = []
    x = 0.0
    for group in workflow.groups:
        start = x
        x += PADDING
        for width, names in group.columns:
            y = top
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
                "box": [start, 0, x - start, top + tallest + PADDING],
            }
        )
        x += GROUP_GAP
    return nodes, groups


def lanes(
    workflow: Workflow, boxes: dict[str, list[float]], graph: dict[str, Any]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Reroutes that lead links along the lanes of a saved graph, and which reroute each of those links comes
    from, both as a workflow's `extra` holds them.
    """
    ids = dict(zip(workflow.nodes, sorted(node["id"] for node in graph["nodes"]), strict=True))
    left = {ids[name]: box[0] for name, box in boxes.items()}
    nodes = {node["id"]: node for node in graph["nodes"]}
    reroutes: list[dict[str, Any]] = []
    ends: list[dict[str, Any]] = []
    for number, source in enumerate(workflow.lanes):
        name, _, output = source.partition(".")
        slot = next(
            i for i, out in enumerate(nodes[ids[name]]["outputs"]) if out["name"] == output or not output
        )
        y = HEADING - LANE_RISE + LANE * number
        right = boxes[name][0] + boxes[name][2]
        far = [
            link
            for link in graph["links"]
            if link[1:3] == [ids[name], slot]
            and left[link[3]] > right + 2 * COLUMN_GAP
            and nodes[link[3]]["pos"][1] - y < LONGEST_DROP
        ]
        parent = None
        for x in sorted({right + COLUMN_GAP} | {left[link[3]] for link in far}) if far else []:
            reroute = {
                "id": len(reroutes) + 1,
                "pos": [round(x - COLUMN_GAP / 2), y],
                "linkIds": [link[0] for link in far if left[link[3]] >= x],
            }
            if parent:
                reroute["parentId"] = parent
            parent = reroute["id"]
            reroutes.append(reroute)
            ends += [{"id": link[0], "parentId": parent} for link in far if left[link[3]] == x]
    return reroutes, ends


def first_view(groups: list[dict[str, Any]]) -> dict[str, Any]:
    """Where the canvas opens: all of the graph where it stays legible so, else its start."""
    right = max(group["box"][0] + group["box"][2] for group in groups)
    bottom = max(group["box"][1] + group["box"][3] for group in groups)
    scale = min(1.0, max(LEGIBLE, min(ROOM[0] / right, ROOM[1] / bottom)))
    return {"scale": round(scale, 2), "offset": [round(CORNER[0] / scale), round(CORNER[1] / scale)]}
