"""Rows for bigger machines: what LLaMA-Factory needs beside them to train on them (full training, or a LoRA
adapter).
"""

from __future__ import annotations

import json
from pathlib import Path

from ..models.errors import ParrotError
from ..models.files import write_text
from ..models.rubrics.rubric import fill
from .rows import ROWS

WORDING = Path(__file__).parent / "wording"
CONFIGURATIONS = ("llama_factory_full.yaml", "llama_factory_lora.yaml")
DEEPSPEED = "zero3.json"


def export_llama_factory(folder: Path, name: str = "parrot") -> list[Path]:
    """Write a dataset entry, two training files and a DeepSpeed file beside the rows in `folder`; returns
    their paths.

    They name no absolute path: start LLaMA-Factory in `folder`. Raises ParrotError where there are no rows.
    """
    if not (folder / ROWS).is_file() or not (folder / ROWS).stat().st_size:
        raise ParrotError(f"There are no training rows in {folder}: build them first.")
    entries = {name: _entry(ROWS)}
    slots = {"name": name}
    texts = {"dataset_info.json": json.dumps(entries, indent=2) + "\n"}
    texts |= {
        file: fill((WORDING / file).read_text(encoding="utf-8"), slots)
        for file in (*CONFIGURATIONS, DEEPSPEED)
    }
    written = []
    for file, text in texts.items():
        write_text(folder / file, text)
        written.append(folder / file)
    return written


def _entry(file: str) -> dict[str, object]:
    return {
        "file_name": file,
        "formatting": "sharegpt",
        "columns": {"messages": "messages", "images": "images"},
        "tags": {
            "role_tag": "role",
            "content_tag": "content",
            "user_tag": "user",
            "assistant_tag": "assistant",
            "system_tag": "system",
        },
    }
