"""What transformers reads from a checkpoint's folder, the processor and the model: complete, or an error that
says why not.

Never the network, never the checkpoint's own code.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from torch import nn

from ..device_memory import give_back, is_out_of_memory
from ..errors import CheckpointError
from ..libraries import packages_for, pip_command, short
from .discovery import Checkpoint
from .layers import misshapen
from .weights import read_json

log = logging.getLogger(__name__)


def read_processor(checkpoint: Checkpoint) -> Any:
    from transformers import AutoProcessor

    failure = ""
    try:
        processor = AutoProcessor.from_pretrained(
            str(checkpoint.folder), local_files_only=True, trust_remote_code=False
        )
        _use_default_template(processor, checkpoint.folder)
        return processor
    except CheckpointError:
        raise
    except Exception as error:
        log.warning("The processor of %s could not be loaded.", checkpoint.folder, exc_info=True)
        failure = short(error)
    _check_image_processor_name(checkpoint.folder)
    raise CheckpointError(
        f"The tokenizer and image processor in {checkpoint.folder} could not be loaded ({failure}): "
        f"copy its *.json files again or run {pip_command('transformers>=4.57')}."
    )


def _use_default_template(processor: Any, folder: Path) -> None:
    """Of several chat templates, keep the one that is named default, or the only one.

    Raises CheckpointError.
    """
    for owner in (processor, processor.tokenizer):
        templates = getattr(owner, "chat_template", None)
        if not isinstance(templates, dict):
            continue
        if "default" not in templates and len(templates) != 1:
            names = ", ".join(sorted(templates))
            raise CheckpointError(
                f'{folder} has several chat templates ({names}), and none is named "default": rename the '
                f"one to use."
            )
        owner.chat_template = templates.get("default") or next(iter(templates.values()))


def _check_image_processor_name(folder: Path) -> None:
    """Raise CheckpointError where the image processor has a name that the installed transformers does not
    know.
    """
    import transformers

    for name in ("preprocessor_config.json", "processor_config.json"):
        try:
            config = read_json(folder / name)
        except (OSError, ValueError):
            continue
        kind = config.get("image_processor", config).get("image_processor_type")
        if isinstance(kind, str) and not hasattr(transformers, kind):
            raise CheckpointError(
                f'{folder / name} names the image processor "{kind}", which the installed transformers '
                f"does not know: "
                'change "image_processor_type" there to "Qwen2VLImageProcessor".'
            )


def read_model(folder: Path, checkpoint: Checkpoint, options: dict[str, Any]) -> Any:
    from transformers import AutoModelForImageTextToText

    try:
        model, info = AutoModelForImageTextToText.from_pretrained(  # type: ignore[misc]
            str(folder),
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            **options,
        )
        failure = _incomplete(model, info, folder)
        if not failure:
            return model
    except Exception as error:
        failure = _explain(error, checkpoint, options)
    model = None
    # A copy that cannot be used makes way for the original.
    give_back()
    raise CheckpointError(failure)


def _incomplete(model: nn.Module, info: dict[str, Any], folder: Path) -> str:
    # transformers fills what a checkpoint lacks with random numbers and only logs it: such a model would
    # judge at random.
    lacking = sorted(
        {*info["missing_keys"], *(name for name, weight in model.named_parameters() if weight.is_meta)}
    )
    if lacking:
        return (
            f"The weights in {folder} lack {lacking[0]} ({len(lacking)} missing in all): download or "
            f"copy the checkpoint again."
        )
    # Transformers 5 does not look at shapes when it quantizes.
    if info["mismatched_keys"] or misshapen(model):
        return (
            f"The weights in {folder} do not have the shapes that its config.json tells: download or "
            f"copy the checkpoint again."
        )
    return ""


def _explain(error: Exception, checkpoint: Checkpoint, options: dict[str, Any]) -> str:
    reason, device = short(error), options["device_map"][""]
    if is_out_of_memory(error):
        return (
            f"{checkpoint.name} ({checkpoint.bytes / 1e9:.1f} GB on disk) does not fit into the memory of "
            f"{device}: "
            "free some, or choose a smaller quantization."
        )
    packages = packages_for(checkpoint.quantized)
    if packages and isinstance(error, ImportError):
        return (
            f"{checkpoint.name} is stored as {checkpoint.quantized} and needs a package that is missing or "
            f"too old: "
            f"run {pip_command(*packages)} and start again."
        )
    log.warning("%s could not be loaded.", checkpoint.folder, exc_info=error)
    if checkpoint.quantized:
        return (
            f"{checkpoint.name} is stored as {checkpoint.quantized}, which could not be read on {device} "
            f"({reason}): "
            "choose a checkpoint that is stored as it was trained."
        )
    return (
        f"{checkpoint.name} could not be loaded ({reason}): see the log, or download or copy the "
        f"checkpoint again."
    )
