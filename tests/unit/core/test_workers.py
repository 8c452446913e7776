"""Workers: one core each, the caller's context, results in order, errors told."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from booth.core.cancel import CancelToken, cancellable, check_cancelled
from booth.core.errors import Cancelled
from booth.core.workers import MOST, available, side_by_side


@pytest.fixture
def cores() -> Iterator[int]:
    former = torch.get_num_threads()
    torch.set_num_threads(3)
    yield 3
    torch.set_num_threads(former)


def test_each_computes_with_one_core_and_the_caller_keeps_its_own(cores: int) -> None:
    meet = threading.Barrier(2)  # both at once, or this never ends

    def task() -> tuple[int, int]:
        meet.wait(timeout=60)
        return torch.get_num_threads(), threading.get_ident()

    (one, here), (other, there) = side_by_side([task, task])
    assert one == other == 1
    assert len({here, there, threading.get_ident()}) == 3
    assert torch.get_num_threads() == cores
    assert side_by_side([torch.get_num_threads] * 3) == [1, 1, 1]
    assert torch.get_num_threads() == cores


def test_there_are_no_more_than_torch_may_use_cores(cores: int) -> None:
    assert available() == min(MOST, cores)
    torch.set_num_threads(1)
    assert available() == 1


def test_results_come_in_the_order_of_the_tasks() -> None:
    last = threading.Event()

    def slow() -> str:
        last.wait(timeout=60)
        return "slow"

    def quick() -> str:
        last.set()
        return "quick"

    assert side_by_side([slow, quick]) == ["slow", "quick"]


def test_the_first_error_is_raised_once_all_have_ended() -> None:
    ended = threading.Event()

    def fails() -> None:
        raise ValueError("first")

    with pytest.raises(ValueError, match="first"):
        side_by_side([fails, ended.set])
    assert ended.is_set()


def test_they_look_at_the_token_of_their_caller() -> None:
    token = CancelToken()
    token.cancel()
    with cancellable(token), pytest.raises(Cancelled):
        side_by_side([check_cancelled, check_cancelled])
    side_by_side([check_cancelled, check_cancelled])
