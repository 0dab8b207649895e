"""``blockskim info``: what a model is made of and what it runs on."""

import platform
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blockskim import __version__
from blockskim.cli import options
from blockskim.cli.option_groups import Printing, TorchComputing, takes_groups
from blockskim.cli.output import console, print_json
from blockskim.cli.session import load_model, model_choice, model_name
from blockskim.cores import available_cores
from blockskim.processor import processor

if TYPE_CHECKING:
    from blockskim.inference.loading import LoadedModel

PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "huggingface-hub", "numpy", "onnxruntime")


@takes_groups
def info(
    computing: TorchComputing = TorchComputing(),
    printing: Printing = Printing(),
) -> None:
    """Show a model's settings and sizes, and what it runs on.

    Processor, versions, device and number format are shown, too, and what blockskim answer would compute with.
    """
    options.set_up(printing.quiet)

    import torch

    loaded = load_model(computing)
    network = loaded.model
    encoder = network.config.encoder_config
    predictors = sum(value.numel() for value in network.predictors.parameters()) if loaded.skims else 0
    total = sum(value.numel() for value in network.parameters())
    every = sum(value.numel() for value in network.predictors.parameters())
    values: dict[str, Any] = {
        "model": loaded.name,
        "skims": loaded.skims,
        "encoder": {
            "type": encoder.model_type,
            "layers": network.num_layers,
            "hidden_size": encoder.hidden_size,
            "max_tokens": network.position_limit,
            **({"pruned_heads": network.pruned_heads} if network.pruned_heads else {}),
        },
        "config": network.skim_config.to_dict() if loaded.skims else None,
        "parameters": {"total": total - every + predictors, "predictors": predictors},
        "thresholds": _by_layer(network.thresholds_by_layer()) if loaded.skims else {},
        "points": {
            name: _by_layer(network.thresholds_by_layer(thresholds))
            for name, thresholds in network.skim_config.points.items()
            if loaded.skims
        },
        "calibrated": {
            "confidence": network.confidence is not None,
            "evidence": network.skim_config.evidence is not None,
        },
        "exported": _graphs(model_name(computing)),
        "device": str(network.device),
        "dtype": network.number_format,
        "answers_with": _answers_with(computing, loaded),
        "threads": torch.get_num_threads(),
        "processor": _processor(),
        "versions": {"blockskim": __version__, "python": platform.python_version(), **dict(_versions())},
    }
    if printing.as_json:
        print_json(values)
    else:
        _show(values)


def _by_layer(thresholds: Mapping[int, float]) -> dict[str, float]:
    return {str(layer): threshold for layer, threshold in thresholds.items()}


def _graphs(name: str) -> list[str]:
    """Number formats of the graphs that lie in a model's directory."""
    from blockskim.exporting.manifest import GRAPH, INT8_GRAPH, is_exported, read_manifest

    if not is_exported(Path(name)):
        return []
    digests = read_manifest(Path(name)).digests
    return [number_format for graph, number_format in ((GRAPH, "float32"), (INT8_GRAPH, "int8")) if graph in digests]


def _answers_with(computing: TorchComputing, loaded: "LoadedModel") -> dict[str, str]:
    """What ``blockskim answer`` would compute with, given the same options."""
    from blockskim.answering.backend_choice import choose_exported

    if choose_exported(model_choice(computing)) is not None:
        return {"backend": "onnx", "device": "cpu", "dtype": "float32"}
    return {"backend": "torch", "device": str(loaded.model.device), "dtype": loaded.model.number_format}


def _processor() -> dict[str, Any]:
    name, instructions = processor()
    return {"name": name, "cores": available_cores(), "instructions": instructions}


def _versions() -> Iterator[tuple[str, str]]:
    for name in PACKAGES:
        try:
            yield name, metadata.version(name)
        # ONNX Runtime is also distributed under other names.
        except metadata.PackageNotFoundError:
            continue


def _show(values: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    points = values["points"]
    # These have rows of their own.
    apart = ("points", "thresholds", "evidence")
    config = {name: value for name, value in (values["config"] or {}).items() if name not in apart}
    if config and config["layers"] is None:
        config["layers"] = "all but the last"
    for name, value in {**values, "config": config or None, "points": ", ".join(points) or None}.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {_plain(item)}" for key, item in value.items()) or "none"
        table.add_row(Text(name, style="bold"), Text(_plain(value)))
        for point, thresholds in points.items() if name == "points" else ():
            table.add_row(f"  {point}", ", ".join(f"{layer} {_plain(item)}" for layer, item in thresholds.items()))
    console().print(table)


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return "+".join(map(_plain, value))
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
