"""Jobs that are done together get what each would have got alone."""

from hypothesis import given
from hypothesis import strategies as st

from liveguard.storage.transactions import Job, groups


def read_people(*_: object) -> None: ...
def read_views(*_: object) -> None: ...
def write_entries(*_: object) -> None: ...
def write_others(*_: object) -> None: ...


jobs_of_all_kinds = st.lists(
    st.sampled_from([
        Job(read_people, False, "item"),
        Job(read_views, False, "item"),
        Job(read_views, False),
        Job(write_entries, True, "item"),
        Job(write_others, True, "item"),
        Job(write_others, True),
    ]),
    max_size=12,
)  # fmt: skip


@given(jobs_of_all_kinds)
def test_every_job_is_in_one_group_of_its_own_kind(jobs: list[Job]) -> None:
    found = groups(jobs)
    assert sorted(place for group in found for place in group) == list(range(len(jobs)))
    for group in found:
        assert len({jobs[place] for place in group}) == 1
        assert group == sorted(group)
        assert len(group) == 1 or jobs[group[0]].item == "item"


@given(jobs_of_all_kinds)
def test_no_read_changes_places_with_a_write_and_no_write_with_another(jobs: list[Job]) -> None:
    order = [place for group in groups(jobs) for place in group]
    for later, place in enumerate(order):
        for other in order[:later]:
            assert other < place or not (jobs[other].write or jobs[place].write)


def test_reads_of_a_kind_find_each_other_and_writes_only_their_neighbours() -> None:
    people, views = Job(read_people, False, 1), Job(read_views, False, 1)
    entry, other = Job(write_entries, True, 1), Job(write_others, True, 1)
    assert groups([people, views, people, views]) == [[0, 2], [1, 3]]
    assert groups([entry, entry, people, entry, entry]) == [[0, 1], [2], [3, 4]]
    assert groups([entry, other, entry]) == [[0], [1], [2]]
    assert groups([people, entry, people]) == [[0], [1], [2]]
