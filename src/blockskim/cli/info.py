"""``blockskim info``: what a model is made of and what it runs on."""

import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from blockskim import __version__
from blockskim.cli import options
from blockskim.cli.option_groups import Computing, Printing, takes_groups
from blockskim.cli.output import console, print_json
from blockskim.cli.session import load_model

PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "huggingface-hub", "numpy")


@takes_groups
def info(
    computing: Computing = Computing(),
    printing: Printing = Printing(),
) -> None:
    """Show a model's settings and sizes.

    Versions in use, device and number format are shown, too.
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
        "device": str(network.device),
        "dtype": network.number_format,
        "threads": torch.get_num_threads(),
        "versions": {
            "blockskim": __version__,
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in PACKAGES},
        },
    }
    if printing.as_json:
        print_json(values)
    else:
        _show(values)


def _by_layer(thresholds: Mapping[int, float]) -> dict[str, float]:
    return {str(layer): threshold for layer, threshold in thresholds.items()}


def _show(values: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    points = values["points"]
    # Thresholds and points have rows of their own.
    config = {name: value for name, value in (values["config"] or {}).items() if name not in ("points", "thresholds")}
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
