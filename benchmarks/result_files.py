"""What a part of the results is kept as, and what says that it is of the shipped model.

A part is a JSON file under ``results/``: the command, its date, machine and versions, the digest of the weights and of
the configuration that answered, and what the command printed.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from blockskim.inference.shipped import shipped_model
from blockskim.processor import processor

ROOT = Path(__file__).resolve().parents[1]
PARTS = ROOT / "benchmarks" / "results.yaml"
RESULTS = ROOT / "results"
# Parts whose figures depend on how sentences are scored.
SCORES_SENTENCES = ("evidence/", "serving/")
# Data by whose rules an answer must be given, and what is no data. By the rules of SQuAD 2.0 "no answer" may be given
# also where every question has one.
ALWAYS_ANSWERED = {"squad", "newsqa", "hotpotqa", "quoref", "multispanqa", "minilm", "report"}
PACKAGES = ("torch", "transformers", "onnxruntime", "tokenizers", "numpy")


@dataclass(frozen=True, slots=True)
class Part:
    """A command whose output is kept.

    Attributes:
        name: path of its file under ``results/``, without the suffix.
        command: words of a command line; names of data in braces.
        shipped: whether it runs the shipped model.
        alone: whether it takes times, so that nothing else may run beside it.
        minutes: about how long it takes on two cores.
        on_request: whether it runs only where it is named. It shows what holds over a long time, and no figure of it
            follows from the weights.
    """

    name: str
    command: str
    shipped: bool
    alone: bool
    minutes: float
    on_request: bool = False

    @property
    def path(self) -> Path:
        """Where its result is kept."""
        return RESULTS / f"{self.name}.json"


def read_parts(file: Path = PARTS) -> tuple[list[Part], dict[str, str]]:
    """All parts in their order, and the file of each data set under the folder of data.

    Raises:
        ValueError: a part has a key that means nothing, or lacks its command.
    """
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    parts = []
    for name, values in content["parts"].items():
        unknown = set(values) - {"command", "shipped", "alone", "minutes", "on_request"}
        if unknown or "command" not in values:
            raise ValueError(f"{file}: part {name}: {sorted(unknown) or 'no command'}")
        shipped, alone = values.get("shipped", True), values.get("alone", False)
        command, minutes = " ".join(values["command"].split()), values.get("minutes", 1)
        parts.append(Part(name, command, shipped, alone, minutes, values.get("on_request", False)))
    return parts, content["data"]


def weights_digest(
    model: Path | None = None,
    evidence: bool = False,
    no_answer: bool = False,
    point: str | None = None,
    all_points: bool = False,
) -> str:
    """SHA-256 over what decides the shipped model's answers: weights, configuration, graph and tokenizer.

    Args:
        model: its directory, if it is another one.
        evidence: whether how sentences are scored counts, too, which decides no answer.
        no_answer: whether the threshold for "no answer" counts, which decides nothing where an answer must be given.
        point: the operating point that it skims at; None for its own thresholds.
        all_points: whether it skims at every point, and at those that its calibration confirmed.
    """
    folder = model or shipped_model()
    config = json.loads((folder / "config.json").read_bytes())
    skim = config.get("skim", {})
    if not evidence:
        skim.pop("evidence", None)
    if not no_answer:
        config.get("confidence", {}).pop("no_answer_threshold", None)
    if not all_points:
        points = skim.pop("points", {})
        if point is not None:
            skim["thresholds"] = points[point]
    digest = hashlib.sha256((json.dumps(config, indent=2) + "\n").encode())
    for name in ("model.onnx", "model.safetensors", "tokenizer.json", *(["calibration.json"] if all_points else [])):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def digest_for(part: Part) -> str | None:
    """The digest of the model that a part runs now; None for another model than the shipped one."""
    if not part.shipped:
        return None
    point = re.search(r"--point (\S+)", part.command)
    may_decline = set(re.findall(r"{([\w-]+)}", part.command)) - ALWAYS_ANSWERED
    return weights_digest(
        evidence=part.name.startswith(SCORES_SENTENCES),
        no_answer="--no-answer-threshold" not in part.command and bool(may_decline),
        point=point[1] if point else None,
        all_points="--calibrated" in part.command,
    )


def file_digest(file: Path) -> str:
    """SHA-256 of a data file, or of the weights in a model's directory."""
    with (file / "model.safetensors" if file.is_dir() else file).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def surroundings(data: Mapping[str, Path]) -> dict[str, Any]:
    """Date, machine and versions, as every part keeps them.

    Args:
        data: files that the command reads, by name.
    """
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "versions": dict(_versions(PACKAGES)),
        "data": {file.name: file_digest(file) for file in data.values()},
    }


def machine() -> dict[str, Any]:
    """The processor, its cores and the instructions that matter here."""
    name, instructions = processor()
    return {"processor": name, "cores": os.cpu_count(), "instructions": instructions}


def _versions(packages: Iterable[str]) -> Iterable[tuple[str, str]]:
    for name in packages:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue


def read_results(folder: Path = RESULTS, parts: Iterable[Part] | None = None) -> dict[str, dict[str, Any]]:
    """What was measured, by the names of its parts. Parts that were not run are missing."""
    chosen = read_parts()[0] if parts is None else parts
    files = {part.name: folder / f"{part.name}.json" for part in chosen}
    return {name: json.loads(file.read_text(encoding="utf-8")) for name, file in files.items() if file.exists()}
