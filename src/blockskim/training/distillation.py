"""The teacher that a student learns from: loading it, whether it fits, and what it answers."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from blockskim.data.tokens import PairTemplate, pair_template
from blockskim.errors import ConfigError, ModelError
from blockskim.inference.loading import load
from blockskim.model.checkpoints import base_name
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from blockskim.model.outputs import BlockSkimOutput
from blockskim.training.distillation_settings import DistillationSettings
from blockskim.training.resume import read_record

TEACHER_FILE = "teacher.json"


@dataclass(frozen=True, slots=True)
class Teacher:
    """A model to learn from, which reads everything and learns nothing.

    Attributes:
        model: in evaluation mode, without gradients.
        template: the special tokens and token types of its input.
        name: directory or hub id without the folders it lies in.
    """

    model: BlockSkimForQuestionAnswering
    template: PairTemplate
    name: str

    @torch.no_grad()
    def answer(self, inputs: Mapping[str, Tensor], states: bool) -> BlockSkimOutput:
        """Logits, and with ``states`` what is inside, for a batch made for the student. Shapes: (batch, tokens)."""
        types = token_types(self.template, inputs["attention_mask"], inputs["context_mask"])
        output: BlockSkimOutput = self.model(
            inputs["input_ids"], inputs["attention_mask"], types, output_hidden_states=states
        )
        return output

    def identity(self) -> dict[str, str]:
        """Its name and a digest of its weights, by which a resumed run knows it again, wherever it lies."""
        digest = hashlib.sha256()
        parts = (self.model.encoder, self.model.qa_transform, self.model.qa_outputs)
        for part in (part for part in parts if part is not None):
            for name, value in part.state_dict().items():
                digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
                digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return {"name": self.name, "weights": digest.hexdigest()}


def check_distillation(
    settings: DistillationSettings, teacher: str | Path | None = None, predictors_only: bool = False
) -> None:
    """Refuse settings that would silently do nothing.

    Args:
        settings: what is to be learned.
        teacher: directory or hub id to learn from, if there is one.
        predictors_only: whether encoder and QA head learn nothing at all.

    Raises:
        ConfigError: something is to be learned from a teacher without one, or nothing with one.
    """
    if teacher is None:
        for name in ("hidden_weight", "attention_weight", "layers"):
            if getattr(settings, name):
                raise ConfigError(f"distillation.{name} is {getattr(settings, name)}, but there is no teacher")
        # A weight of 0 says the same as no teacher.
        for name, harmless in (("label_weight", (1,)), ("weight", (0, 1))):
            if getattr(settings, name) not in harmless:
                raise ConfigError(f"distillation.{name} is {getattr(settings, name)}, but there is no teacher")
    elif predictors_only:
        raise ConfigError("a teacher teaches encoder and QA head, which predictors_only leaves as they are")
    elif not (settings.weight or settings.wants_states):
        raise ConfigError("there is a teacher, but all weights of what is learned from it are 0")


def load_teacher(
    source: str | Path,
    tokenizer: PreTrainedTokenizerBase,
    student: BlockSkimForQuestionAnswering,
    settings: DistillationSettings,
    max_length: int,
) -> Teacher:
    """Load a QA checkpoint or Block-Skim model to learn from.

    Args:
        source: directory or hub id.
        tokenizer: the student's.
        student: the model that is to learn.
        settings: what it is to learn.
        max_length: tokens of the longest window.

    Raises:
        ModelError: there is no such model, it can't answer questions, reads other tokens than the student or fewer of
            them, or is of another width where states are compared.
        ConfigError: layers to be compared don't exist.
    """
    loaded = load(source, "cpu", "float32")
    model, name = loaded.model.requires_grad_(False), base_name(source)
    template, own = pair_template(loaded.tokenizer), pair_template(tokenizer)
    same_frame = (template.before, template.between, template.after) == (own.before, own.between, own.after)
    if loaded.tokenizer.get_vocab() != tokenizer.get_vocab() or not same_frame:
        raise ModelError(
            f"the teacher {source} has another vocabulary than the model to train; a student learns from a teacher "
            "that reads the same tokens"
        )
    limit = model.position_limit
    if limit is not None and max_length > limit:
        raise ModelError(f"windows of {max_length} tokens are too long for the teacher {source}: it reads {limit}")
    _check_states(model, student, settings)
    return Teacher(model, template, name)


def token_types(template: PairTemplate, attention_mask: Tensor, context_mask: Tensor) -> Tensor | None:
    """Token types as a tokenizer gives them to question and context; None when it has none.

    A student's tokenizer may have the same vocabulary and no types, as DistilBERT's.
    Shapes: (batch, tokens)
    """
    if template.types is None:
        return None
    first, second = template.types
    behind = (context_mask.cumsum(-1) > 0) & attention_mask.bool()
    return torch.where(behind, second, torch.where(attention_mask.bool(), first, 0))


def check_same_teacher(folder: Path, teacher: Teacher | None) -> None:
    """Refuse to go on with a run under another teacher than it began with.

    Raises:
        ConfigError: the teacher is another one, or there was one and is none, or the other way round.
    """
    file = folder / TEACHER_FILE
    stored = read_record(file) if file.is_file() else None
    given = None if teacher is None else teacher.identity()
    if (stored or {}).get("weights") != (given or {}).get("weights"):
        names = ["none" if one is None else one.get("name", "another one") for one in (given, stored)]
        same = " (of the same name, with other weights)" if names[0] == names[1] else ""
        raise ConfigError(
            f"the teacher is {names[0]} but the run in {folder} was started with {names[1]}{same}; resume with the same"
        )


def _check_states(
    teacher: BlockSkimForQuestionAnswering, student: BlockSkimForQuestionAnswering, settings: DistillationSettings
) -> None:
    """Refuse to compare states of different widths: a projection between them would be learned and thrown away."""
    if not settings.wants_states:
        return
    own, others = ([model.adapter.dims(part) for part in _layers(model)] for model in (student, teacher))
    for one, two in settings.layer_pairs(len(own), len(others)):
        mine, theirs = own[one - 1], others[two - 1]
        sizes = {
            "hidden": (mine.hidden, theirs.hidden),
            "attention": (mine.heads * mine.head_dim, theirs.heads * theirs.head_dim),
        }
        for name, (first, second) in sizes.items():
            if getattr(settings, f"{name}_weight") and first != second:
                raise ModelError(
                    f"distillation.{name}_weight compares layer {one} with layer {two} of the teacher, but they are "
                    f"{first} and {second} wide; set it to 0 and learn from the logits"
                )


def _layers(model: BlockSkimForQuestionAnswering) -> Any:
    return model.adapter.layers(model.encoder)
