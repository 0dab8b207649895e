"""The text normalisation that all official extractive-QA scores share.

SQuAD 1.1, SQuAD 2.0, MRQA and HotpotQA publish evaluation scripts with the same four steps. What may surprise in
them, and holds here too:

- Punctuation is the 32 ASCII characters of ``string.punctuation``: "€", "–" and curly quotes stay.
- Punctuation vanishes, it does not become a space: "well-known" is the one word "wellknown".
- Articles go after punctuation: "a-ha" is "aha" by then, but "A." is an article and vanishes.
- Lower-casing, word boundaries and white space are Unicode's, as Python 3 strings have them.
"""

import re
import string

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")


def normalize_answer(text: str) -> str:
    """Lowers the case, drops ASCII punctuation and English articles, and makes all white space single spaces.

    Args:
        text: an answer.

    Returns:
        The text that official scores compare; may be empty.
    """
    return " ".join(_ARTICLE.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())
