"""Which attention heads a model can best do without, and a copy of it without them.

Michel, Levy and Neubig ("Are Sixteen Heads Really Better than One?", NeurIPS 2019) multiply what each head gives by a
factor and take the expected size of the loss's derivative by that factor, at one, for the head's importance. These are
divided by their Euclidean norm in each layer, so that layers can be compared.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from blockskim.atomic import new_directory
from blockskim.checks import is_whole
from blockskim.data.collate import pad_windows
from blockskim.data.examples import Example
from blockskim.data.windows import STAND_IN, WindowSet, WindowSettings, make_windows
from blockskim.errors import ConfigError, DataError
from blockskim.inference.runner import batches
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from blockskim.model.pruned_heads import PrunedHeads
from blockskim.model.stored_weights import CARD

Importance = dict[int, dict[int, float]]
"""By layer and head, both counted from 1 as they were when all heads were there."""

PRUNING_FILE = "pruning.json"


def answerable_windows(
    examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, settings: WindowSettings
) -> WindowSet:
    """Windows of the examples whose answer stands in their context.

    Raises:
        DataError: there is none.
    """
    usable = [example for example in examples if example.answers]
    if not usable:
        raise DataError(
            f"none of {len(examples)} examples has an answer in its context; the importance of heads is measured on "
            "questions with answers"
        )
    return make_windows(usable, tokenizer, settings, stand_in=STAND_IN)


def head_importance(
    model: BlockSkimForQuestionAnswering,
    windows: WindowSet,
    batch_size: int = 16,
    progress: Callable[[int], None] | None = None,
) -> Importance:
    """Importance of every attention head for the QA loss, nothing dropped (Michel et al. 2019, equation 2).

    Args:
        model: in evaluation mode.
        windows: with their answers.
        batch_size: windows that run together; the result does not depend on it.
        progress: called with the number of windows just done.

    Returns:
        Importances with a Euclidean norm of 1 in each layer; all 0 in a layer that the loss does not depend on.
    """
    layers = model.adapter.layers(model.encoder)
    counts = [model.adapter.dims(layer).heads for layer in layers]
    sums = [np.zeros(count) for count in counts]
    for indices in batches(windows, batch_size):
        items = [windows[int(index)] for index in indices]
        inputs = {name: value.to(model.device) for name, value in pad_windows(items, windows.template.pad_id).items()}
        # Without it no predictor is asked: the loss is that of the answers alone.
        del inputs["context_mask"]
        targets = torch.from_numpy(np.stack([item["target"] for item in items])).to(model.device)
        # A factor per window: the size of each window's derivative counts, and signs must not cancel out.
        masks = {
            number: torch.ones(len(items), count, device=model.device, requires_grad=True)
            for number, count in enumerate(counts, start=1)
        }
        with torch.enable_grad():
            output = model(**inputs, start_positions=targets[:, 0], end_positions=targets[:, 1], head_masks=masks)
            # The loss is a mean over windows, whose derivatives are wanted one by one.
            gradients = torch.autograd.grad(output.qa_loss * len(items), list(masks.values()))
        for total, gradient in zip(sums, gradients, strict=True):
            total += gradient.abs().sum(0).double().cpu().numpy()
        if progress is not None:
            progress(len(items))
    importance: Importance = {}
    for number, total in enumerate(sums, start=1):
        norm = float(np.linalg.norm(total))
        shares = (total / norm if norm > 0 else total).tolist()
        importance[number] = dict(zip(model.heads_of(number), shares, strict=True))
    return importance


def least_important(
    importance: Mapping[int, Mapping[int, float]], per_layer: int | None = None, total: int | None = None
) -> PrunedHeads:
    """The heads to remove: so many of every layer, or so many of all layers together; every layer keeps one.

    Args:
        importance: of the heads that are there, by layer and head.
        per_layer: how many of each layer.
        total: how many of all layers.

    Raises:
        ConfigError: not exactly one number is given, or a layer would lose its last head.
    """
    if (per_layer is None) == (total is None):
        raise ConfigError("say how many heads to remove: per_layer or total, one of them")
    wanted = per_layer if per_layer is not None else total
    if not is_whole(wanted) or wanted < 1:
        raise ConfigError(f"{wanted!r:.60} heads can't be removed; it must be a whole number of at least 1")
    if per_layer is not None:
        for layer, scores in importance.items():
            if per_layer >= len(scores):
                raise ConfigError(
                    f"{per_layer} of the {len(scores)} heads of layer {layer} can't be removed; one has to stay"
                )
        return {layer: tuple(sorted(_ranked(scores)[:per_layer])) for layer, scores in importance.items()}
    most = sum(len(scores) - 1 for scores in importance.values())
    if wanted > most:
        raise ConfigError(f"{wanted} heads can't be removed; {most} can, as one has to stay in every layer")
    # The most important head of each layer is not up for choice.
    up = [(scores[head], layer, head) for layer, scores in importance.items() for head in _ranked(scores)[:-1]]
    chosen = sorted(up)[:wanted]
    found = {layer: tuple(sorted(head for _, owner, head in chosen if owner == layer)) for layer in importance}
    return {layer: heads for layer, heads in found.items() if heads}


def save_pruned(
    model: BlockSkimForQuestionAnswering,
    tokenizer: PreTrainedTokenizerBase,
    papers: Mapping[str, Path],
    importance: Importance,
    removed: PrunedHeads,
    output: Path,
) -> None:
    """Write a model that lost heads; ``pruning.json`` says which, and how important all were.

    Args:
        model: after the heads were removed.
        tokenizer: its tokenizer.
        papers: files of the model that it was made of, by name, that tell where that came from; they go along.
        importance: of all heads before.
        removed: the heads that were removed.
        output: directory to make; it appears whole or not at all.

    Raises:
        ConfigError: there is something at ``output`` already.
    """
    with new_directory(output) as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        record: dict[str, Any] = {"removed": removed, "importance": importance}
        (folder / PRUNING_FILE).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        for name, path in papers.items():
            shutil.copyfile(path, folder / name)
        if CARD in papers:
            # As bytes: a card in whatever encoding must not stop a copy after the long part.
            card = papers[CARD].read_bytes().rstrip()
            (folder / CARD).write_bytes(card + f"\n\n{_card_section(removed)}".encode())


def _ranked(scores: Mapping[int, float]) -> list[int]:
    """Heads by rising importance; of equal ones the first comes first."""
    return sorted(scores, key=lambda head: (scores[head], head))


def _card_section(removed: PrunedHeads) -> str:
    lines = [f"| {layer} | {', '.join(map(str, heads))} |" for layer, heads in removed.items()]
    return "\n".join(
        [
            "## Heads removed after that",
            "",
            "What is said above is of the model before. Layers and heads are counted from 1.",
            "",
            "| layer | heads |",
            "| --- | --- |",
            *lines,
            "",
        ]
    )
