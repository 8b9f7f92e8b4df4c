"""Write `locales/en` and say where the translations differ from it: `python scripts/make_locales.py`.

Needs a ComfyUI checkout, whose server is asked for the nodes' schemas. The words of the panel and of the
settings stand in `web/`, because the page needs them before any translation has come. A translation is edited
in its own file; it has the keys of the English one, in the same order.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from comfyui_checkouts import HINT, checkouts
from comfyui_server import NAME, PACK, Server

FOLDER = PACK / "locales"
ENGLISH, TRANSLATIONS = "en", ("zh", "ja", "de")
# As ComfyUI calls them.
FILES = ("nodeDefs", "main", "settings")
WEB = PACK / "web"
# A string in JavaScript, which is one in JSON, too.
TEXT = r'"(?:[^"\\]|\\.)*"'


def node_definitions(info: dict[str, Any]) -> dict[str, Any]:
    """`nodeDefs.json` of this pack's nodes in a server's `/object_info`, in the order of the menu and of the
    schemas.
    """
    return {
        node["name"]: {
            "display_name": node["display_name"],
            "description": node["description"],
            "inputs": dict(_inputs(node)),
            "outputs": {
                str(i): {"name": name, "tooltip": tooltip}
                for i, (name, tooltip) in enumerate(
                    zip(node["output_name"], node["output_tooltips"], strict=True)
                )
            },
        }
        for node in _own(info)
    }


def categories(info: dict[str, Any]) -> dict[str, str]:
    """The words of the nodes' categories, each for itself."""
    return {word: word for node in _own(info) for word in node["category"].split("/")}


def main_strings(info: dict[str, Any]) -> dict[str, Any]:
    """`main.json`."""
    return {
        "nodeCategories": categories(info),
        "settingsCategories": settings_categories(),
        "rationalRewards": panel_strings(),
    }


def panel_strings() -> dict[str, str]:
    """The panel's words by key, from its script."""
    table = re.search(
        r"^const ENGLISH = \{\n(.*?)^\}",
        (WEB / "strings.js").read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    assert table, "web/strings.js has no table ENGLISH"
    return {key: json.loads(text) for key, text in re.findall(rf"(\w+): ({TEXT})", table[1])}


def settings() -> dict[str, Any]:
    """Name and tooltip of every setting, by its id as locales write it, from the script that registers
    them.
    """
    found = re.findall(rf"\bid: ({TEXT}),\s+name: ({TEXT}),\s+tooltip: ({TEXT})", settings_script())
    return {
        json.loads(id).replace(".", "_"): {"name": json.loads(name), "tooltip": json.loads(tip)}
        for id, name, tip in found
    }


def settings_categories() -> dict[str, str]:
    """The headings of the settings page."""
    return {
        heading: heading for heading in ("RationalRewards", *re.findall(r'group: "(.+?)"', settings_script()))
    }


def settings_script() -> str:
    """The script that registers the settings."""
    return (WEB / "settings.js").read_text(encoding="utf-8")


def read(language: str, file: str) -> dict[str, Any]:
    """A table of a language; {} where there is none."""
    path = FOLDER / language / f"{file}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def write(language: str, file: str, table: dict[str, Any]) -> None:
    """Put a table into its file, with its keys in the order they have."""
    path = FOLDER / language / f"{file}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(table, ensure_ascii=False, indent=2) + "\n", encoding="utf-8", newline="\n")


def strings(table: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Every string of a table with its path, such as "RationalRewardsCritique.inputs.image.tooltip"."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from strings(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def differences(english: dict[str, Any], translated: dict[str, Any]) -> list[str]:
    """What a translation lacks, has too much, has in another order, or left empty; in words."""
    wanted, found = dict(strings(english)), dict(strings(translated))
    lines = [f"{path} is missing ({wanted[path]!r})" for path in wanted if path not in found]
    lines += [f"{path} is not in the English table" for path in found if path not in wanted]
    lines += [
        f"{path} is empty" for path, text in found.items() if not isinstance(text, str) or not text.strip()
    ]
    if not lines and list(wanted) != list(found):
        lines.append(
            f"{next(b for a, b in zip(wanted, found, strict=True) if a != b)} stands at another place than "
            f"in English"
        )
    return lines


def _own(info: dict[str, Any]) -> list[dict[str, Any]]:
    return [node for node in info.values() if node["python_module"] == f"custom_nodes.{NAME}"]


def _inputs(node: dict[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    for kind in ("required", "optional"):
        for id in node["input_order"].get(kind, ()):
            options = node["input"][kind][id][1]
            yield id, {"name": options.get("display_name") or id, "tooltip": options["tooltip"]}


def main() -> None:
    """Write the English tables, then look at the others."""
    if not checkouts():
        raise SystemExit(HINT)
    with tempfile.TemporaryDirectory() as folder:
        server = Server(checkouts()[0], Path(folder) / "comfyui")
        try:
            info = server.get("/object_info")
        finally:
            server.stop()
    write(ENGLISH, "nodeDefs", node_definitions(info))
    write(ENGLISH, "main", main_strings(info))
    write(ENGLISH, "settings", settings())
    found = [
        f"{language}/{file}.json: {line}"
        for language in TRANSLATIONS
        for file in FILES
        for line in differences(read(ENGLISH, file), read(language, file))
    ]
    print("\n".join(found) or "All translations have the keys of the English tables.")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
