"""A task that a tiny model learns in seconds: the answer is the number among words."""

import random

from blockskim.data.examples import Answer, Example
from tiny_tokenizers import WORDS


def examples(count: int, seed: int) -> list[Example]:
    """Questions whose answer stands anywhere in 30 to 60 words."""
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
