"""The order of what waits: fair to short jobs and long ones, whole, and cut by itself alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockskim.data.examples import Example
from blockskim.data.windows import WindowSettings, make_windows
from blockskim.inference.first_stage import Phase
from blockskim.serving.fair_queue import FairQueue, Turn, cut_into_turns
from served import QUESTION, TEXT, plain_tokenizer

TOKENIZER = plain_tokenizer()


def phase(*repeats, **values):
    """A phase that reads the text so many times over, for each of some examples."""
    examples = [Example(str(number), QUESTION, TEXT * count) for number, count in enumerate(repeats)]
    return Phase(make_windows(examples, TOKENIZER, WindowSettings(60, 10, 20)), **values)


def turns(*tokens):
    return [Turn(None, number, np.arange(1), size) for number, size in enumerate(tokens)]


def drain(queue, most=100, later=100):
    """The batches until nothing is left, as jobs with tokens."""
    found = []
    while batch := queue.take(most, later):
        found.append([(job, turn.tokens) for job, turn in batch])
    return found


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(1, 400))
def test_turns_hold_every_window_once_and_in_order(repeats, tokens):
    read = phase(*repeats)
    found = cut_into_turns(read, tokens)
    assert np.concatenate([turn.indices for turn in found]).tolist() == list(range(len(read.windows)))
    lengths = read.windows.lengths
    assert [turn.number for turn in found] == list(range(len(found)))
    for turn in found:
        assert turn.tokens == lengths[turn.indices].sum()
        assert turn.tokens <= tokens or len(turn.indices) == 1


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(60, 400))
def test_a_text_that_fits_into_a_turn_stays_together(repeats, tokens):
    read = phase(*repeats)
    owners = {}
    for number, turn in enumerate(cut_into_turns(read, tokens)):
        for example in read.windows.examples_of(turn.indices).tolist():
            owners.setdefault(example, set()).add(number)
    sizes = np.bincount(read.windows.examples_of(), read.windows.lengths)
    assert all(len(owners[example]) == 1 for example, size in enumerate(sizes) if size <= tokens)


def test_what_has_to_run_together_does():
    read = phase(4, 1, least_batch=16)
    firsts = [set(read.windows.examples_of(turn.indices).tolist()) for turn in cut_into_turns(read, 60)]
    assert firsts == [{0}, {1}]


def test_only_the_windows_among_those_to_run_are_cut():
    read = phase(3, 3)
    some = Phase(read.windows, np.array([1, 2, 4]))
    assert np.concatenate([turn.indices for turn in cut_into_turns(some, 1)]).tolist() == [1, 2, 4]


def test_jobs_take_turns():
    queue = FairQueue()
    queue.put("long", turns(50, 50, 50))
    queue.put("short", turns(10))
    queue.put("other", turns(50, 50))
    assert drain(queue, most=50, later=50) == [
        [("long", 50)],
        [("short", 10)],
        [("other", 50)],
        [("long", 50)],
        [("other", 50)],
        [("long", 50)],
    ]


def test_turns_of_a_job_follow_each_other_within_the_quantum():
    queue = FairQueue(quantum=100)
    queue.put("long", turns(50, 50, 50, 50, 50))
    queue.put("other", turns(60, 60))
    queue.put("short", turns(10))
    taken = [job for ((job, _),) in drain(queue, most=1, later=1)]
    # Nobody waits once more for what fits into a turn, and nobody waits longer than for that of each other.
    assert taken == ["long", "long", "other", "short", "other", "long", "long", "long"]


@given(st.lists(st.lists(st.integers(1, 60), min_size=1, max_size=12), min_size=2, max_size=5), st.integers(0, 150))
def test_nobody_waits_for_more_than_two_quanta_of_each_other_job(jobs, quantum):
    queue = FairQueue(quantum)
    for number, sizes in enumerate(jobs):
        queue.put(number, turns(*sizes))
    largest = max(max(sizes) for sizes in jobs)
    waited = dict.fromkeys(range(len(jobs)), 0)
    left = {number: len(sizes) for number, sizes in enumerate(jobs)}
    while batch := queue.take(1, 1):
        ((owner, turn),) = batch
        left[owner] -= 1
        waited[owner] = 0
        for number in waited:
            if number != owner and left[number]:
                waited[number] += turn.tokens
                # Its own turn may have been larger than theirs: they catch up, and then have one more.
                assert waited[number] <= 2 * (len(jobs) - 1) * (quantum + largest)


def test_a_new_job_waits_for_one_turn_at_most():
    queue = FairQueue()
    queue.put("long", turns(*[50] * 20))
    for _ in range(10):
        assert queue.take(50, 50)[0][0] == "long"
    queue.put("short", turns(10))
    seen = [queue.take(50, 50)[0][0] for _ in range(2)]
    assert "short" in seen


def test_short_jobs_do_not_starve_a_long_one():
    queue = FairQueue()
    queue.put("long", turns(*[10] * 20))
    served = 0
    for number in range(100):
        queue.put(number, turns(10))
        for job, _ in queue.take(10, 10):
            served += job == "long"
    # More comes than can be run, so ever more share; none of them has more of it than the long one.
    assert served > 8


def test_later_turns_fill_little_of_a_batch():
    queue = FairQueue()
    queue.put("long", turns(20, 20))
    queue.put("longer", turns(20, 20))
    assert drain(queue, 100, 20) == [[("long", 20), ("longer", 20)], [("long", 20)], [("longer", 20)]]


def test_a_turn_that_is_larger_than_a_batch_runs_alone():
    queue = FairQueue()
    queue.put("large", turns(500))
    queue.put("small", turns(5))
    assert drain(queue) == [[("large", 500)], [("small", 5)]]


def test_only_what_is_skimmed_alike_runs_together():
    queue = FairQueue()
    for job, skim in (("a", None), ("b", 0.5), ("c", None), ("d", 0.5)):
        queue.put(job, turns(10), skim)
    assert drain(queue) == [[("a", 10), ("c", 10)], [("b", 10), ("d", 10)]]


def test_a_dropped_job_is_gone():
    queue = FairQueue()
    queue.put("a", turns(10, 10))
    queue.put("b", turns(10))
    queue.take(10, 10)
    queue.drop("a")
    queue.drop("unknown")
    assert (len(queue), queue.tokens, list(queue.jobs())) == (1, 10, ["b"])
    assert drain(queue) == [[("b", 10)]]
    assert queue.take(10, 10) == []


@given(
    st.lists(
        st.tuples(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.sampled_from([None, 0.5]), st.booleans()),
        min_size=1,
        max_size=8,
    ),
    st.integers(1, 80),
    st.integers(1, 80),
)
def test_nothing_is_lost_or_given_twice(jobs, most, later):
    queue = FairQueue()
    for number, (sizes, skim, _) in enumerate(jobs):
        queue.put(number, turns(*sizes), skim)
    dropped = {number for number, (_, _, drop) in enumerate(jobs) if drop}
    for number in dropped:
        queue.drop(number)
    given_out = {number: [] for number in range(len(jobs))}
    for batch in drain(queue, most, later):
        assert len(batch) == 1 or sum(tokens for _, tokens in batch) <= most
        assert len({jobs[job][1] for job, _ in batch}) == 1
        for job, tokens in batch:
            given_out[job].append(tokens)
    assert given_out == {number: [] if number in dropped else sizes for number, (sizes, _, _) in enumerate(jobs)}
    assert (len(queue), queue.tokens) == (0, 0)


@pytest.mark.parametrize("count", [1, 5])
def test_more_turns_of_a_job_go_on_where_it_was(count):
    queue = FairQueue()
    queue.put("a", turns(10))
    queue.take(10, 10)
    queue.put("b", turns(10))
    queue.put("a", turns(*[10] * count))
    assert [batch[0][0] for batch in drain(queue, 10, 10)] == ["b", *["a"] * count]
