"""Workers: order kept, no more taken than needed, errors told, torch's threads left as they were."""

from __future__ import annotations

import threading
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from morphospace.space.workers import Workers


@settings(max_examples=20)
@given(count=st.integers(1, 5), n=st.integers(0, 30), seed=st.integers(0, 99))
def test_results_come_in_the_order_of_the_items(count, n, seed):
    waits = torch.rand(n, generator=torch.Generator().manual_seed(seed)).tolist()

    def work(i):
        time.sleep(waits[i] / 1000)
        return i * i

    with Workers(count) as workers:
        assert list(workers.map(work, range(n))) == [i * i for i in range(n)]


def test_few_items_are_taken_ahead():
    taken = []

    def items():
        for i in range(100):
            taken.append(i)
            yield i

    with Workers(3) as workers:
        results = workers.map(lambda i: i, items())
        for i in range(10):
            assert next(results) == i
            assert len(taken) <= i + 1 + 3
        results.close()


def test_threads_work_at_the_same_time():
    together = threading.Barrier(3)
    with Workers(3) as workers:
        assert len(list(workers.map(lambda _: together.wait(timeout=20), range(3)))) == 3


def test_one_stage_feeds_another():
    with Workers(2) as first, Workers(3) as second:
        half = first.map(lambda i: i + 0.5, range(50))
        assert list(second.map(lambda x: 2 * x, half)) == [2 * i + 1 for i in range(50)]


def test_an_error_comes_out_where_it_belongs():
    def work(i):
        if i == 4:
            msg = "the fifth is bad"
            raise ValueError(msg)
        return i

    with Workers(2) as workers:
        results = workers.map(work, range(9))
        assert [next(results) for _ in range(4)] == [0, 1, 2, 3]
        with pytest.raises(ValueError, match="the fifth is bad"):
            next(results)


def test_what_came_before_a_bad_item_is_handed_out():
    def items():
        yield from range(7)
        msg = "no eighth"
        raise OSError(msg)

    with Workers(3) as workers:
        results = workers.map(str, items())
        assert [next(results) for _ in range(7)] == [str(i) for i in range(7)]
        with pytest.raises(OSError, match="no eighth"):
            next(results)


def test_threads_of_torch_are_those_asked_for_and_others_keep_theirs():
    before = torch.get_num_threads()
    with Workers(2, cores=3) as workers:
        assert list(workers.map(lambda _: torch.get_num_threads(), range(4))) == [3] * 4
        assert torch.get_num_threads() == before
    found = []
    later = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert found == [before]
