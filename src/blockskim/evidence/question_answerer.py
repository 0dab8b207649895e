"""QuestionAnswerer: answers, and the evidence for them. What most people use."""

from blockskim.answering.answerer import Answerer


class QuestionAnswerer(Answerer):
    """Answers questions over texts of any length, and finds what in them matters."""
