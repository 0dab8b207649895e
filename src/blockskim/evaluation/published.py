"""Published results on SQuAD 1.1 with BERT-base of methods that make extractive question answering faster."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Peer:
    """One published point.

    Attributes:
        name: of the method.
        f1: official F1 on the development set, in percent.
        dense_f1: of the model that it makes faster, as its authors report it.
        speedup: dense FLOPs over FLOPs spent, as published: against padded input, which the dense runs of this library
            are not.
        source: arXiv number of the paper.
    """

    name: str
    f1: float
    dense_f1: float
    speedup: float
    source: str

    @property
    def f1_loss(self) -> float:
        """F1 lost, in percent of the dense model's."""
        return relative_loss(self.f1, self.dense_f1)


def relative_loss(f1: float, dense_f1: float) -> float:
    """F1 lost in percent of a dense model's F1, so that different base models compare; 0 where there is none to lose.

    Args:
        f1: what is left.
        dense_f1: what the dense model has.
    """
    return 100.0 * (1.0 - f1 / dense_f1) if dense_f1 else 0.0


PEERS = (
    Peer("Block-Skim (paper)", 88.52, 88.32, 3.01, "2112.08560"),
    Peer("DeFormer", 87.2, 88.5, 3.1, "2005.00697"),
    Peer("Length-Adaptive Transformer", 88.7, 88.5, 2.22, "2010.07003"),
)
