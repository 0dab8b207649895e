"""Block-Skim: extractive question answering that drops irrelevant context blocks layer by layer."""

__version__ = "0.1.0"
