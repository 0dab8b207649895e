"""The sentences of one document that are kept so far, and what it takes to keep more of them."""

from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import Literal

Role = Literal["evidence", "context", "kept"]


class KeptSentences:
    """Which sentences of a document are kept, and why.

    What a row of sentences takes is told in the logarithm of their number, and each is added once, so that wide
    context takes no longer than narrow one.

    Attributes:
        roles: why each is kept, by its number.
    """

    def __init__(self, sizes: Sequence[int], between: Sequence[int], gap: int) -> None:
        """Keep nothing yet.

        Args:
            sizes: what each sentence takes.
            between: what stands between each and the next where both are kept.
            gap: what stands in place of what is cut out between two.
        """
        self.roles: dict[int, Role] = {}
        self._sizes, self._between, self._gap = sizes, between, gap
        # Each sentence counts with what stands before it: as if there was a gap before the first one, too.
        self._all = list(accumulate(map(sum, zip(sizes, [gap, *between], strict=False)), initial=0))
        # Sums over those that are kept, in a binary indexed tree (Fenwick, 1994).
        self._tree = [0] * (len(sizes) + 1)
        self._next_free = list(range(len(sizes) + 1))

    def needed(self, row: range) -> int:
        """What it takes to keep all sentences of a row, of which some may be kept."""
        first, end = row.start, row.stop
        total = self._all[end] - self._all[first] - self._kept_before(end) + self._kept_before(first)
        if first and first - 1 not in self.roles:
            total += self._gap - self._between[first - 1]
        if end in self.roles and end - 1 not in self.roles:
            total += self._between[end - 1] - self._gap
        return total if self.roles else total - self._gap

    def needed_at_first(self, sentences: Iterable[int]) -> int:
        """What it takes to keep some sentences in ascending order, where none is kept so far."""
        numbers = list(sentences)
        joins = [self._between[one] if other == one + 1 else self._gap for one, other in pairwise(numbers)]
        return sum(self._sizes[number] for number in numbers) + sum(joins)

    def add(self, sentences: Iterable[int], role: Role) -> None:
        """Keep those of some sentences that are not kept yet."""
        for number in sentences:
            if number not in self.roles:
                self._add(number, role)

    def add_row(self, row: range, role: Role) -> None:
        """The same of a row, in the time that those take which are added."""
        number = self._free_from(row.start)
        while number < row.stop:
            self._add(number, role)
            number = self._free_from(number)

    def _add(self, number: int, role: Role) -> None:
        self.roles[number] = role
        self._next_free[number] = number + 1
        before = self._between[number - 1] if number - 1 in self.roles else self._gap
        self._count(number, self._sizes[number] + before)
        if number + 1 in self.roles:
            self._count(number + 1, self._between[number] - self._gap)

    def _free_from(self, number: int) -> int:
        """The first sentence from one on that is not kept; the number of all where there is none."""
        following = self._next_free
        while following[number] != number:
            # Half as long a way for the next time.
            following[number] = following[following[number]]
            number = following[number]
        return number

    def _count(self, number: int, size: int) -> None:
        """Add to what a kept sentence takes."""
        place = number + 1
        while place < len(self._tree):
            self._tree[place] += size
            place += place & -place

    def _kept_before(self, number: int) -> int:
        """What the kept sentences before one take."""
        total = 0
        while number:
            total += self._tree[number]
            number &= number - 1
        return total
