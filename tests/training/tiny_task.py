"""A task that a tiny model learns in seconds: the answer is the number among words."""

import random

from blockskim.data.examples import Answer, Example
from tiny_models import new_dense_model
from tiny_tokenizers import WORDS, word_piece


def examples(count, seed):
    """Questions whose answer is the one number in their context."""
    choose = random.Random(seed)
    words = [word for word in WORDS if word.isalpha()]
    found = []
    for number in range(count):
        tokens = [choose.choice(words) for _ in range(choose.randint(30, 60))]
        place = choose.randrange(len(tokens))
        tokens[place] = "2024"
        context = " ".join(tokens)
        answer = Answer("2024", context.index("2024"))
        metadata = (("format", "squad"), ("version", "1.1"))
        found.append(Example(str(number), "when ?", context, (answer,), ("2024",), metadata=metadata))
    return found


def save_encoder(folder, answers=False, seed=0, tokenizer=None, **changes):
    """Directory of a tiny BERT with its tokenizer, with a QA head if it ``answers``."""
    tokenizer = tokenizer or word_piece()
    settings = {"vocab_size": len(tokenizer), "initializer_range": 0.05, **changes}
    model = new_dense_model("bert", seed, **settings)
    (model if answers else model.base_model).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
