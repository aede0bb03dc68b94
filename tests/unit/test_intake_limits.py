"""What one sender may take."""

from firebreak.intake.limits import MOST_SENDERS, Budget, Rates
from test_tiers import Clock


def test_a_sender_may_burst_and_then_sends_at_its_rate() -> None:
    clock = Clock()
    rates = Rates(rate=8, burst=3, clock=clock)
    assert [rates.take("a") for _ in range(4)] == [True, True, True, False]
    clock.now += 0.125
    assert [rates.take("a") for _ in range(2)] == [True, False]
    clock.now += 1000
    assert [rates.take("a") for _ in range(4)] == [True, True, True, False]


def test_one_sender_s_flood_is_not_another_s() -> None:
    rates = Rates(rate=1, burst=1, clock=Clock())
    assert [rates.take(sender) for sender in "aab"] == [True, False, True]


def test_senders_without_end_cost_no_memory_without_end() -> None:
    rates = Rates(rate=1, burst=1, clock=Clock())
    for number in range(2 * MOST_SENDERS):
        rates.take(str(number))
    assert len(rates._buckets) == MOST_SENDERS  # noqa: SLF001 - the bound is what this is about


def test_bytes_are_bounded_in_all_and_of_one_sender_to_half() -> None:
    budget = Budget(100)
    assert budget.claim("a", 50)
    assert not budget.claim("a", 1)
    assert budget.claim("b", 40)
    assert not budget.claim("c", 11)
    assert budget.held == 90
    budget.give_back("a", 50)
    assert budget.claim("c", 50)
    assert budget.held == 90
