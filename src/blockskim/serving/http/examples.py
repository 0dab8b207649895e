"""Requests that the OpenAPI schema shows; each of them is answered in a test."""

from typing import Any

_KITE = "The red kite nests in Wales. It eats worms and carrion. In 2024 there were 2,500 nests."
_OTTER = "Sea otters were hunted for their fur. When the hunt ended in 1911, about 2,000 of them were left."

ANSWER: dict[str, Any] = {
    "one": {
        "summary": "A question and a text",
        "value": {"inputs": {"question": "Where does the red kite nest?", "context": _KITE}},
    },
    "several": {
        "summary": "Two of them, two answers each, at an operating point",
        "value": {
            "inputs": [
                {"question": "Where does the red kite nest?", "context": _KITE},
                {"question": "How many sea otters were left?", "context": _OTTER},
            ],
            "parameters": {"top_k": 2, "handle_impossible_answer": True},
        },
    },
}

SEARCH: dict[str, Any] = {
    "named": {
        "summary": "Documents by name",
        "value": {
            "question": "How many sea otters were left?",
            "documents": {"kite.txt": _KITE, "otter.txt": _OTTER},
            "explain": True,
        },
    },
    "list": {
        "summary": "A list of texts",
        "value": {"question": "What does the red kite eat?", "documents": [_KITE, _OTTER]},
    },
}

RERANK: dict[str, Any] = {
    "texts": {
        "summary": "Two texts",
        "value": {"query": "How many sea otters were left?", "documents": [_KITE, _OTTER], "top_n": 1},
    }
}

HIGHLIGHT: dict[str, Any] = {
    "best": {
        "summary": "The best sentence of two texts, with the answer in it",
        "value": {
            "question": "How many sea otters were left?",
            "documents": {"kite.txt": _KITE, "otter.txt": _OTTER},
            "parameters": {"top_k": 1},
        },
    },
    "likely": {
        "summary": "Whatever is likely enough to be evidence, in the order of the texts",
        "value": {
            "question": "What does the red kite eat?",
            "documents": [_KITE, _OTTER],
            "parameters": {"order": "text", "context": 1},
        },
    },
}

PRUNE: dict[str, Any] = {
    "budget": {
        "summary": "Two texts cut to a third",
        "value": {
            "question": "How many sea otters were left?",
            "documents": {"kite.txt": _KITE, "otter.txt": _OTTER},
            "parameters": {"budget": "33%", "gap": " … "},
        },
    }
}
