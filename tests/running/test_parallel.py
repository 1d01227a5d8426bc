import threading
import time

import pytest

from audio_neurons.running import parallel


def test_results_come_in_the_order_of_the_items_whichever_ends_first():
    def slow_if_even(number):
        time.sleep(0.01 * (number % 2 == 0))
        return number, threading.get_ident()

    found = list(parallel.in_order(slow_if_even, range(20), 2))
    assert [number for number, _ in found] == list(range(20))
    assert threading.get_ident() not in {thread for _, thread in found}


def test_few_items_are_taken_ahead():
    taken = []

    def items():
        for number in range(100):
            taken.append(number)
            yield number

    for done, _ in enumerate(parallel.in_order(str, items(), 2)):
        assert len(taken) - done <= parallel.IN_FLIGHT * 2 + 1
    assert len(taken) == 100


def test_an_error_is_raised_where_its_result_would_be():
    found = parallel.in_order(lambda number: 1 / number, [2, 0], 1)
    assert next(found) == 0.5
    with pytest.raises(ZeroDivisionError):
        next(found)
