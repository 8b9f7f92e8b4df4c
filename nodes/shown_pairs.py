"""Which pairs Record Preference shows, so that a choice counts for no images that nobody has seen.

A choice is made on the page for the pair on the node, and runs later: by then a sampler may have drawn a new
seed, and several runs may have been queued at once. So what a node shows is noted, and every prompt that is
queued from a page takes along what its nodes showed at that moment.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..preferences.lines import image_hash

if TYPE_CHECKING:
    from PIL import Image

# Of Record Preference.
NODE_ID = "RationalRewardsRecordPreference"
# In a queued node's `_meta`: the digest of what it showed when it was queued, or None.
SEEN = "rational_rewards_seen"
# Nodes that are remembered: the ones that showed something last.
MOST = 1000

# A workflow and one of its nodes.
Place = tuple[str, str]


def pairs_digest(
    pairs: Sequence[tuple[Image.Image, Image.Image, Image.Image | None]], prompts: Sequence[str]
) -> str:
    """A digest of images, which of each pair is A, and prompts, one a pair; 64 hexadecimal digits."""
    content = [
        [prompt, *(None if image is None else image_hash(image) for image in pair)]
        for pair, prompt in zip(pairs, prompts, strict=True)
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def place(extra_pnginfo: Any, node: str) -> Place | None:
    """Where that node shows its images, from the workflow that a page sends along; None for an API prompt
    that brings none.
    """
    workflow = extra_pnginfo.get("workflow") if isinstance(extra_pnginfo, dict) else None
    return (str(workflow.get("id")), node) if isinstance(workflow, dict) else None


class ShownPairs:
    """The digest of what each node showed last, for as long as the server runs. Safe for several threads.

    `changes` is another number after everything that can make an equal run end otherwise: ComfyUI must not
    serve that from its cache.
    """

    def __init__(self) -> None:
        self.changes = 0
        self._digests: OrderedDict[Place, str] = OrderedDict()
        self._guard = threading.Lock()

    def show(self, where: Place, digest: str, refused: bool) -> None:
        """Note what a node shows now, and whether it `refused` a choice for it."""
        with self._guard:
            if refused or self._digests.get(where) != digest:
                self.changes += 1
            self._digests[where] = digest
            self._digests.move_to_end(where)
            while len(self._digests) > MOST:
                self._digests.popitem(last=False)

    def mark(self, json_data: dict[str, Any]) -> dict[str, Any]:
        """Have the nodes of a prompt that is queued take along what they show."""
        prompt, extra = json_data.get("prompt"), json_data.get("extra_data")
        info = extra.get("extra_pnginfo") if isinstance(extra, dict) else None
        for id, node in prompt.items() if isinstance(prompt, dict) else ():
            if not isinstance(node, dict) or node.get("class_type") != NODE_ID:
                continue
            where = place(info, id)
            if where:
                with self._guard:
                    seen = self._digests.get(where)
                node["_meta"] = {**(node.get("_meta") or {}), SEEN: seen}
        return json_data


shown_pairs = ShownPairs()
