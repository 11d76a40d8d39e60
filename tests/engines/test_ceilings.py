"""What is remembered of memory's limits, and for how long."""

from genfarm_workers.engines.ceilings import FIRST_WAIT, LONGEST_WAIT, MOST, Ceilings


def test_a_ceiling_is_half_of_what_was_too_much_and_never_nothing() -> None:
    ceilings = Ceilings({}, 0.0)
    assert ceilings.allowed("k") is None
    for held, allowed in ((32, 16), (16, 8), (1, 1)):
        ceilings.lower("k", held, 0.0)
        assert ceilings.allowed("k") == allowed
    assert ceilings.allowed("other") is None


def test_a_ceiling_that_stood_its_time_is_raised_until_it_no_longer_binds() -> None:
    ceilings = Ceilings({"k": 8}, 0.0)
    seen = []
    for turn in range(1, 8):
        ceilings.relax(16, turn * FIRST_WAIT - 1.0)
        ceilings.relax(16, turn * FIRST_WAIT)
        seen.append(ceilings.allowed("k"))
    assert seen == [10, 12, 15, 18, None, None, None]


def test_a_trial_that_fails_falls_back_to_what_was_enough_and_waits_longer() -> None:
    ceilings, now, waits = Ceilings({"k": 8}, 0.0), 0.0, []
    for _ in range(10):
        began = now
        while ceilings.allowed("k") == 8:
            now += FIRST_WAIT
            ceilings.relax(32, now)
        waits.append(now - began)
        assert (ceilings.allowed("k"), ceilings.known()) == (10, {"k": 8})
        ceilings.lower("k", 10, now)
        assert ceilings.allowed("k") == 8
    assert waits[:3] == [FIRST_WAIT, 2 * FIRST_WAIT, 4 * FIRST_WAIT]
    assert waits[-1] == LONGEST_WAIT


def test_only_the_latest_ceilings_are_kept() -> None:
    ceilings = Ceilings({}, 0.0)
    for number in range(MOST + 5):
        ceilings.lower(f"k{number}", 8, 0.0)
    assert len(ceilings.known()) == MOST
    assert ceilings.allowed("k0") is None
