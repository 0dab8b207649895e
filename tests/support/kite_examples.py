"""Questions about red kites, over contexts of growing length."""

from blockskim.data.examples import Answer, Example


def examples(count):
    context = "the red kite nest in wales . " * 6
    return [
        Example(f"q{number}", "who eat the worm ?", context[: 20 + 9 * number], (Answer("red", 4),), ("red",))
        for number in range(count)
    ]
