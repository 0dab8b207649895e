"""Train a small model from nothing on a toy set, and see how early its layers know what is relevant.

    python examples/train_toy.py [FOLDER]

A text of the toy set holds one person, one place and one year among words that say nothing; the question asks who,
where or when. So a layer has to know both the question and the word to tell what is relevant. After every epoch the
area under the ROC curve of "this block holds the answer" is printed for the predictor of every layer: 0.5 is guessing,
1 is knowing.
"""

import random
import sys
import tempfile
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, set_seed

from blockskim import Answer, Example, Recipe, evaluate, make_windows, train

KINDS = {
    "who": ["ada", "ben", "cleo", "dan", "eva", "finn", "gus", "hana"],
    "where": ["wales", "ghent", "leeds", "turin", "malmo", "porto", "basel", "cork"],
    "when": ["1911", "1926", "1934", "1947", "1958", "1969", "1977", "1983"],
}
FILLER = [
    "the",
    "of",
    "and",
    "rain",
    "boat",
    "salt",
    "wool",
    "owl",
    "ink",
    "moss",
    "clay",
    "snow",
    "tea",
    "bread",
    "fig",
    "tram",
]
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")

RECIPE = {
    "skim": {"block_size": 8, "predictor_width": 32, "skim_factor": 0.3, "inputs": ["match"]},
    "windows": {"max_length": 80, "doc_stride": 8, "max_question_length": 12},
    "epochs": 3,
    "batch_size": 16,
    "learning_rate": 2e-3,
    "head_learning_rate": 3e-3,
    "hidden_dropout": 0.0,
    "precision": "float32",
    "eval_examples": 200,
}


def toy_examples(count: int, seed: int) -> list[Example]:
    """Texts of some fifty words with a person, a place and a year, each with a question about one of them."""
    choose = random.Random(seed)
    examples = []
    for number in range(count):
        words = [choose.choice(FILLER) for _ in range(choose.randint(40, 60))]
        places = choose.sample(range(len(words)), len(KINDS))
        for place, kind in zip(places, KINDS, strict=True):
            words[place] = choose.choice(KINDS[kind])
        asked = choose.randrange(len(KINDS))
        answer = Answer(words[places[asked]], len(" ".join([*words[: places[asked]], ""])))
        metadata = (("format", "squad"), ("version", "1.1"))
        question, context = f"{list(KINDS)[asked]} ?", " ".join(words)
        examples.append(Example(str(number), question, context, (answer,), (answer.text,), metadata=metadata))
    return examples


def new_encoder(folder: Path) -> Path:
    """A directory with a random BERT encoder of four layers and a tokenizer that knows the toy set's words."""
    words = [*SPECIAL, *KINDS, *(word for kind in KINDS.values() for word in kind), *FILLER, "?"]
    vocabulary = {word: number for number, word in enumerate(words)}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")],
    )
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), SPECIAL, strict=True))
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    PreTrainedTokenizerFast(tokenizer_object=backend, model_input_names=inputs, **names).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=96,
        initializer_range=0.1,
    )
    set_seed(0)
    BertModel(config).save_pretrained(folder)
    return folder


def report(metrics: dict[str, float]) -> None:
    """Print how well each layer knows which blocks are relevant."""
    areas = "  ".join(f"layer {layer}: {metrics[f'auc_{layer}']:.2f}" for layer in (1, 2, 3))
    print(f"epoch {metrics['epoch']:.1f}  F1 {metrics['f1']:5.1f}  relevance known in {areas}", flush=True)


def run(folder: Path, questions: int = 2000, epochs: float = 3) -> dict[str, float]:
    """Train a model in a folder, and score it skimming on questions that it has not seen."""
    base = new_encoder(folder / "encoder")
    recipe = Recipe.from_dict({**RECIPE, "epochs": epochs})
    learned = toy_examples(questions, 0)
    model = train(base, learned, toy_examples(200, 1), folder / "model", recipe, "cpu", report=report)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(base)
    windows = make_windows(toy_examples(200, 2), tokenizer, recipe.windows)
    return evaluate(model, windows, thresholds=0.3)


def main() -> None:
    with tempfile.TemporaryDirectory() as made:
        found = run(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(made))
    print(f"skimming: F1 {found['f1']:.1f} at {found['flops_speedup']:.2f} times the dense model's speed in FLOPs")


if __name__ == "__main__":
    main()
