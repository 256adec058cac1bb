"""The trail of a session stays even, small and right to its newest point."""

from itertools import pairwise

from liveguard.trail import MOST, SPACING, Point, Trail


def walk(trail: Trail, seconds: int, step: int = 1) -> None:
    for second in range(0, seconds, step):
        trail.add(Point(second * 1000, 48 + second / 1e6, 16))


def test_at_most_one_point_is_kept_each_five_seconds_and_the_newest_is_always_known() -> None:
    trail = Trail()
    walk(trail, 63)
    assert [point.moment for point in trail.points] == [*range(0, 61_000, SPACING), 62_000]


def test_a_day_of_points_is_thinned_evenly_to_two_thousand() -> None:
    trail = Trail()
    walk(trail, 24 * 3600)
    moments = [point.moment for point in trail.points]
    assert MOST / 2 <= len(moments) <= MOST
    assert len({later - earlier for earlier, later in pairwise(moments[:-1])}) == 1
    assert moments[-1] == (24 * 3600 - 1) * 1000


def test_what_is_written_bit_by_bit_is_the_trail() -> None:
    trail, kept = Trail(), {}
    for second in range(13 * 3600):
        trail.add(Point(second * 1000, 48, 16))
        if second % 4 == 0 and (changes := trail.changes()):
            if changes.anew:
                kept.clear()
            kept.pop(changes.gone, None)
            kept |= {point.moment: point for point in changes.points}
            assert list(kept.values()) == trail.points
    assert trail.changes() is not None


def test_when_the_clock_is_set_back_the_last_place_stays_the_last_also_once_it_is_written() -> None:
    trail = Trail()
    for second in (3600, 3605, 3607, 10, 12, 15):
        trail.add(Point(second * 1000, second, 16))
        if second == 3607:
            assert trail.changes() is not None
    changes = trail.changes()
    assert changes is not None and changes.anew
    written = sorted(changes.points, key=lambda point: point.moment)
    assert written == trail.points == Trail(written).points
    assert [(point.latitude, point.moment) for point in written[1:]] == [(3605, 5_000), (10, 10_000), (15, 15_000)]


def test_nothing_is_written_twice() -> None:
    trail = Trail()
    walk(trail, 8)
    assert trail.changes() is not None
    assert trail.changes() is None
    trail.write_again()
    changes = trail.changes()
    assert changes is not None
    assert changes.points == trail.points


def test_a_trail_with_a_long_silence_goes_on_after_a_restart_as_it_would_have() -> None:
    trail = Trail()
    for second in (*range(0, 65, 5), 8 * 3600):
        trail.add(Point(second * 1000, 48, 16))
    restored = Trail(trail.points)
    for second in range(8 * 3600, 9 * 3600):
        trail.add(Point(second * 1000, 48, 16))
        restored.add(Point(second * 1000, 48, 16))
    assert len(restored) == len(trail) > 700


def test_a_long_trail_stays_even_over_restarts() -> None:
    trail = Trail()
    for second in range(31 * 3600):
        if second % (7 * 3600) == 11:
            trail = Trail(trail.points)
        trail.add(Point(second * 1000, 48, 16))
    assert MOST / 2 <= len(trail) <= MOST
    gaps = sorted(later.moment - earlier.moment for earlier, later in pairwise(trail.points[:-1]))
    assert gaps[4] == gaps[-4] == 80_000
    assert gaps[-1] <= 160_000


def test_a_clock_that_is_set_back_stops_no_trail() -> None:
    trail, hour = Trail(), 3600
    for second in (*range(2 * hour, 3 * hour), *range(2 * hour, 3 * hour)):
        trail.add(Point(second * 1000, 48, 16))
    assert len(trail) == 2 * hour * 1000 / SPACING + 1
    assert trail.newest == Point((3 * hour - 1) * 1000, 48, 16)
