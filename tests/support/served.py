"""An answerer that needs neither PyTorch nor files, for what is above it: texts are words, logits are hashes."""

import threading
from multiprocessing.connection import Connection

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from blockskim.data.tokens import FrozenTokenizer, PairTemplate
from blockskim.evidence.question_answerer import QuestionAnswerer
from blockskim.method.skim_trace import AS_NEEDED
from blockskim.serving.engine import ModelSettings
from blockskim.serving.logs import LogSettings
from blockskim.serving.scheduler import Capacity
from blockskim.serving.worker import serve_answerer
from hashing_backend import HashingBackend

QUESTION = "Where is the nest?"
TEXT = "The red kite nests in Wales. It eats worms, says the café in Cardiff! In 2024 there were 2,500 nests."


def plain_tokenizer() -> FrozenTokenizer:
    """A tokenizer of letters and a few words."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghijklmnopqrstuvwxyz0123456789.,;:!?"]
    pieces = [*words, *(f"##{piece}" for piece in words[4:]), "the", "kite", "nest", "wales"]
    backend = Tokenizer(models.WordPiece({piece: number for number, piece in enumerate(pieces)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    template = PairTemplate.from_json({"before": [2], "between": [3], "after": [3], "types": [0, 1], "pad_id": 0})
    return FrozenTokenizer(backend, template)


class CountingBackend(HashingBackend):
    """Notes what it is asked to run; it waits for ``gate``, and fails on texts of some length if it is told to."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.gate = threading.Event()
        self.gate.set()
        self.entered = 0
        self.batches: list[list[int]] = []
        self.broken_length: int | None = None

    def score_windows(self, inputs, thresholds=None, asking=AS_NEEDED):
        self.entered += 1
        self.gate.wait(60)
        lengths = inputs.lengths.tolist()
        self.batches.append(lengths)
        if self.broken_length in lengths:
            raise RuntimeError("broken")
        return super().score_windows(inputs, thresholds, asking)


def plain_answerer(**settings) -> QuestionAnswerer:
    """An answerer without a network; it reads windows of up to 60 tokens."""
    return QuestionAnswerer(CountingBackend(**settings), plain_tokenizer())


def plain_work(connection: Connection, settings: ModelSettings, capacity: Capacity, logs: LogSettings) -> None:
    """What a worker process of a test does. A text that holds the word z hangs it."""
    answerer = plain_answerer()
    original = answerer.model.score_windows
    hangs = plain_tokenizer().backend.token_to_id("z")

    def score_windows(inputs, thresholds=None, asking=AS_NEEDED):
        if hangs in inputs.ids:
            threading.Event().wait(60)
        return original(inputs, thresholds, asking)

    answerer.model.score_windows = score_windows
    serve_answerer(connection, answerer, capacity)
