"""When a reader is held to have stopped reading."""

from twinport.rest.servers.connections import MIN_BYTES_PER_S, Progress

LIMIT_S = 10.0


def looks(*seen: tuple[float, int, bool]) -> list[bool]:
    """Look at times, in seconds, at how many bytes have left and whether more wait."""
    progress = Progress(LIMIT_S)
    return [progress.stalled(now, sent, waiting=waiting) for now, sent, waiting in seen]


def test_who_takes_nothing_for_longer_than_the_limit_has_stalled():
    assert looks((1, 0, True), (11, 0, True), (11.5, 0, True)) == [False, False, True]


def test_who_drips_below_the_least_rate_has_stalled():
    few = int(MIN_BYTES_PER_S * LIMIT_S) - 1
    assert looks((1, 0, True), (11.5, few, True)) == [False, True]
    assert looks((1, 0, True), (11.5, few + 1, True)) == [False, False]


def test_who_has_taken_all_may_begin_anew():
    assert looks((1, 0, True), (9, 5, False), (12, 5, True), (21, 5, True)) == [False] * 4


def test_nobody_has_stalled_because_nobody_looked_for_a_while():
    assert looks((1, 0, False), (60, 9, True), (69, 9, True)) == [False] * 3
    assert looks((60, 9, True)) == [False]


def test_what_waits_may_be_counted_downwards():
    assert looks((1, -100, True), (9, -50, True), (11.5, -200, True)) == [False] * 3
