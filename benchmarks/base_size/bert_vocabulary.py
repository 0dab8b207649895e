"""An MPNet that reads BERT's tokens, so that it can teach a model with BERT's vocabulary.

    python benchmarks/base_size/bert_vocabulary.py --encoder all-mpnet-base-v2 --tokenizer all-MiniLM-L6-v2 \
        --output mpnet

MPNet's vocabulary is BERT's with other special tokens and in another order. The rows of its word embeddings are put in
the order of BERT's tokenizer, which is saved beside the weights.
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from blockskim.atomic import new_directory

SPECIAL = {"[PAD]": "<pad>", "[CLS]": "<s>", "[SEP]": "</s>", "[MASK]": "<mask>"}
"""BERT's special tokens that MPNet has under other names."""

EMBEDDINGS = "embeddings.word_embeddings.weight"


def main() -> None:
    """Read both folders and write the third."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--encoder", type=Path, required=True, help="folder of an MPNet")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder of a model with BERT's tokenizer")
    parser.add_argument("--output", type=Path, required=True)
    chosen = parser.parse_args()
    try:
        theirs, own = vocabulary(chosen.encoder), vocabulary(chosen.tokenizer)
        config = json.loads((chosen.encoder / "config.json").read_text(encoding="utf-8"))
        weights = load_file(chosen.encoder / "model.safetensors")
        files = {name: (chosen.tokenizer / name).read_bytes() for name in ("tokenizer.json", "tokenizer_config.json")}
    except (OSError, ValueError, SafetensorError) as error:
        parser.error(str(error))
    if not own.keys() >= SPECIAL.keys():
        parser.error(
            f"{chosen.tokenizer} has no {', '.join(SPECIAL.keys() - own.keys())}; it must have BERT's tokenizer"
        )
    names = [SPECIAL.get(token, token) for token, _ in sorted(own.items(), key=lambda item: item[1])]
    missing = [name for name in names if name not in theirs]
    if missing or EMBEDDINGS not in weights:
        what = f"no tokens {', '.join(missing[:5])}" if missing else f"no {EMBEDDINGS}"
        parser.error(f"{chosen.encoder} has {what}; it must be an MPNet with BERT's words")
    if chosen.output.exists():
        parser.error(f"{chosen.output} exists already; name a new folder")
    rows = torch.tensor([theirs[name] for name in names])
    weights[EMBEDDINGS] = weights[EMBEDDINGS][rows].contiguous()
    config |= {"vocab_size": len(rows), "pad_token_id": own["[PAD]"]}
    config |= {"bos_token_id": own["[CLS]"], "eos_token_id": own["[SEP]"]}
    chosen.output.parent.mkdir(parents=True, exist_ok=True)
    with new_directory(chosen.output) as folder:
        for name, content in files.items():
            (folder / name).write_bytes(content)
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def vocabulary(folder: Path) -> dict[str, int]:
    """The tokens of a folder's tokenizer and their numbers.

    Raises:
        ValueError: its file is no tokenizer, or one of another kind.
    """
    file = folder / "tokenizer.json"
    try:
        numbers: dict[str, int] = json.loads(file.read_text(encoding="utf-8"))["model"]["vocab"]
        return dict(numbers)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file} holds no vocabulary of words and numbers") from error


if __name__ == "__main__":
    main()
