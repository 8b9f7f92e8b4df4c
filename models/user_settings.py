"""What the user chose on ComfyUI's settings page.

The page's script (`web/settings.js`) names the settings and says what they do.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path

from .files import user_path

log = logging.getLogger(__name__)

# In ComfyUI's user folder; with --multi-user only the default user's are heeded.
FILE = Path("default", "comfy.settings.json")


@dataclass(frozen=True)
class UserSettings:
    """`model_folder`: where critics are looked for first and put, "" for the usual place.

    `offline`: nothing is ever downloaded. `keep_results`: results stay with their nodes in the workflow.
    """

    model_folder: str = ""
    offline: bool = False
    keep_results: bool = True

    def roots(self, models: Path, usual: list[Path]) -> list[Path]:
        """The folders for critics, the chosen one first; a relative one lies in ComfyUI's `models` folder."""
        chosen = [models / user_path(self.model_folder)] if self.model_folder else []
        return list(dict.fromkeys([*chosen, *usual]))


def read_user_settings(user_folder: Path) -> UserSettings:
    """The settings in ComfyUI's user folder, read anew each time: the page may change them at any moment."""
    try:
        found = json.loads((user_folder / FILE).read_text(encoding="utf-8"))
        folder, offline = found.get("RationalRewards.ModelFolder"), found.get("RationalRewards.Offline")
    except FileNotFoundError:
        return UserSettings()
    except (OSError, ValueError, AttributeError) as error:
        # Half-written, or not a table.
        log.warning("ComfyUI's settings could not be read (%s).", error)
        return UserSettings()
    # In the page's own words: only an explicit "off" switches it off.
    keep = found.get("RationalRewards.KeepResults") is not False
    chosen = folder.replace("\0", "").strip() if isinstance(folder, str) else ""
    return UserSettings(chosen, offline is True, keep)
