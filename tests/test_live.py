"""The life of a session as docs/protocol.md has it, rule by rule, with races driven by hand."""

import asyncio
import gc

import pytest
from cast import CAST, Stage, WardDevice, settle
from tornado.testing import ExpectLog

from liveguard.events import SessionEnded, timestamp
from liveguard.sessions import LiveSession
from liveguard.turns import MOST_WAITING

pytestmark = pytest.mark.gen_test


async def test_the_ward_hears_who_guards_them_and_guardians_hear_who_started(stage: Stage) -> None:
    ben, ana = await stage.guardian("ben"), await stage.ward("ana")
    start = ana.start({"note": "home"})
    await settle()
    told = ana.answer(start)
    assert told is not None and told.name == "session-started"
    assert {person["id"] for person in told.data["guardians"]} == {"ben", "chloe"}
    assert told.data["connectedGuardians"] == 1
    assert told.data["roomName"] == "ward:ana"
    assert "durable" not in told.data
    heard = ben.last("guardian:session-started")
    assert (heard["wardId"], heard["metadata"], heard["state"]) == ("ana", {"note": "home"}, "active")
    assert heard["seq"] > 0


async def test_nobody_else_hears_anything(stage: Stage) -> None:
    mallory, ana = await stage.guardian("mallory"), await stage.ward("ana")
    ana.start()
    ana.locate()
    ana.say("hello")
    ana.stop()
    await settle()
    assert mallory.news() == ["guardian:snapshot"]
    assert mallory.last("guardian:snapshot")["sessions"] == []


# -- rule 1 ----------------------------------------------------------------------------------------------------------


async def test_of_two_starts_at_once_on_two_devices_one_wins(stage: Stage) -> None:
    phone, watch = await stage.ward("ana"), await stage.ward("ana")
    first, second = phone.start(), watch.start()
    await settle()
    won, lost = phone.answer(first), watch.answer(second)
    assert won is not None and won.name == "session-started"
    assert lost is not None and lost.data["code"] == "session_already_active"
    assert stage.live.sessions.get_active_session_count() == 1


async def test_a_start_behind_a_stop_begins_a_new_session(stage: Stage) -> None:
    ana, ben = await stage.ward("ana"), await stage.guardian("ben")
    ana.start()
    ana.stop()
    again = ana.start()
    await settle()
    assert ben.news()[1:] == ["guardian:session-started", "session-ended", "guardian:session-started"]
    answer = ana.answer(again)
    assert answer is not None and answer.name == "session-started"


async def test_a_second_stop_finds_no_session(stage: Stage) -> None:
    ana = await stage.ward("ana")
    ana.start()
    ana.stop()
    second = ana.stop()
    await settle()
    answer = ana.answer(second)
    assert answer is not None and answer.data["code"] == "no_active_session"


async def test_a_ward_who_waits_for_no_answer_is_slowed_down_but_never_kept_from_a_stop(stage: Stage) -> None:
    ana, ben = await stage.ward("ana"), await stage.guardian("ben")
    stage.crank.hold()
    first = ana.start()
    waiting = [ana.locate() for _ in range(MOST_WAITING)]
    for refused in (ana.locate(), ana.say("hello"), ana.start()):
        answer = ana.answer(refused)
        assert answer is not None and answer.data["code"] == "rate_limited"
    stops = [ana.stop() for _ in range(MOST_WAITING)]
    one_too_many = ana.answer(ana.stop())
    assert one_too_many is not None and one_too_many.data["code"] == "no_active_session"
    assert not any(ana.answer(request) for request in (first, *waiting, *stops))
    stage.crank.release()
    await settle()
    answers = [ana.answer(request) for request in (first, *waiting, *stops)]
    names = [answer.name for answer in answers if answer is not None]
    located = ["location-acknowledged"] * MOST_WAITING
    assert names == ["session-started", *located, "session-ended", *["session-error"] * (MOST_WAITING - 1)]
    assert ben.last("session-ended")["reason"] == "manual_stop"
    assert ana.answer(ana.start()) is None  # which waits for the journal, and for nothing else


# -- rules 2 and 3 ---------------------------------------------------------------------------------------------------


async def test_a_stop_while_the_start_waits_takes_effect_after_it(stage: Stage) -> None:
    ana, ben = await stage.ward("ana"), await stage.guardian("ben")
    stage.crank.hold()
    ana.start()
    ana.stop()
    await settle()
    assert ben.news() == ["guardian:snapshot"]
    stage.crank.release()
    await settle()
    assert ben.news() == ["guardian:session-started", "session-ended"]
    assert ben.last("session-ended")["reason"] == "manual_stop"


async def test_a_goodbye_while_the_start_waits_ends_it_after_it(stage: Stage) -> None:
    ana, ben = await stage.ward("ana"), await stage.guardian("ben")
    stage.crank.hold()
    ana.start()
    ana.leave()
    stage.crank.release()
    await settle()
    assert ben.news()[1:] == ["guardian:session-started", "session-ended"]
    assert ben.last("session-ended")["reason"] == "ward_disconnected"


async def test_a_start_without_a_journal_is_told_all_the_same(stage: Stage) -> None:
    ana, ben = await stage.ward("ana"), await stage.guardian("ben")
    stage.neighbour.lock_writing()
    with ExpectLog("liveguard.journaling", ".*cannot be written.*"):
        start = ana.start()
        await settle()
    told = ana.answer(start)
    assert told is not None and told.data["durable"] is False
    assert "seq" not in ben.last("guardian:session-started")
    stage.neighbour.unlock()
    stage.clock.advance(0.5)
    await settle()
    ana.stop()
    await settle()
    assert ben.last("session-ended")["seq"] == 2


async def test_while_the_disk_hangs_everybody_is_told_and_afterwards_the_journal_has_each_entry_once(
    stage: Stage,
) -> None:
    stage.storage.database.watch(stage.clock)
    ana, tom, ida = await stage.ward("ana"), await stage.ward("tom"), await stage.ward("ida")
    ben = await stage.guardian("ben")
    tom.start()
    await settle()
    stage.clock.advance(1)
    stage.crank.hold()
    start, stop = ana.start(), tom.stop()
    await settle()  # both are under way
    late = ida.start()  # and this one waits behind them
    stage.clock.advance(4.9)
    await settle()
    assert not any(device.answer(asked) for device, asked in ((ana, start), (tom, stop), (ida, late)))
    with ExpectLog("liveguard.journaling", "The journal cannot be written"):
        stage.clock.advance(0.1)  # somebody looks twice
        stage.clock.advance(0.1)
        await settle()
    for device, asked in ((ana, start), (ida, late), (ida, ida.stop()), (ida, ida.start())):
        await settle()  # what is asked for from now on, waits for nothing
        answer = device.answer(asked)
        assert answer is not None and "seq" not in answer.data and answer.data.get("durable", False) is False
    assert ben.news()[1:] == ["guardian:session-started", "guardian:session-started", "session-ended"]
    assert "seq" not in ben.last("session-ended") and ben.last("guardian:session-started")["wardId"] == "ana"
    assert not stage.storage.database.healthy and stage.live.journal_is_behind()
    ben.leave()
    stage.crank.release()
    stage.clock.advance(0.5)
    await settle()
    assert stage.storage.database.healthy and not stage.live.journal_is_behind()
    rows = stage.neighbour.rows("SELECT ward_id, start_seq, end_seq FROM sessions ORDER BY start_seq")
    assert rows == [("tom", 1, 3), ("ana", 2, None), ("ida", 4, 5), ("ida", 6, None)]
    back = await stage.guardian("ben", since=1)
    assert [end["wardId"] for end in back.all("session-ended")] == ["tom"]


async def test_a_start_that_failed_while_the_disk_hung_is_none_although_it_was_written_after_all(stage: Stage) -> None:
    stage.storage.database.watch(stage.clock)
    ben, ana = await stage.guardian("ben"), WardDevice(stage, CAST["ana"])
    stage.crank.hold()
    stage.live.ward_came(ana)
    failed = ana.start()  # is under way before it is known who guards her
    await settle()
    with ExpectLog("liveguard.journaling", "The journal cannot be written"):
        stage.clock.advance(5)
        stage.clock.advance(0.1)
        await settle()
    answer = ana.answer(failed)
    assert answer is not None and answer.data["code"] == "start_failed"
    stage.crank.turn()
    await settle()
    assert stage.neighbour.rows("SELECT ward_id FROM sessions") == [("ana",)]
    stage.crank.release()
    stage.clock.advance(0.5)
    await settle()
    assert stage.neighbour.rows("SELECT ward_id FROM sessions") == []
    ana.start()
    await settle()
    assert ben.news() == ["guardian:snapshot", "guardian:session-started"]


async def test_what_waits_for_a_disk_that_hangs_is_written_by_a_server_that_stops(stage: Stage) -> None:
    stage.storage.database.watch(stage.clock)
    ana = await stage.ward("ana")
    stage.crank.hold()
    ana.start()
    await settle()
    with ExpectLog("liveguard.journaling", "The journal cannot be written"):
        stage.clock.advance(5)
        stage.clock.advance(0.1)
        await settle()
    ana.stop()
    stopping = asyncio.ensure_future(stage.live.close())
    await settle()
    assert not stopping.done()
    stage.crank.release()
    await stopping
    assert stage.neighbour.rows("SELECT ward_id, start_seq, end_seq FROM sessions") == [("ana", 1, 2)]


async def test_a_start_whose_guardians_nobody_can_read_is_none_and_the_next_one_is(stage: Stage) -> None:
    ben, earlier = await stage.guardian("ben"), await stage.ward("ana")
    earlier.leave()  # who guarded her by then, nobody goes by any more
    stage.neighbour.lock_all()
    ana = await stage.ward("ana")
    failed, stop = ana.start(), ana.stop()
    await settle()
    answers = [ana.answer(request) for request in (failed, stop)]
    assert [answer.data["code"] for answer in answers if answer] == ["start_failed", "no_active_session"]
    assert ben.news() == ["guardian:snapshot"] and not stage.live.sessions.has_active_session("ana")
    stage.neighbour.unlock()
    again = ana.start()
    await settle()
    answer = ana.answer(again)
    assert answer is not None and answer.name == "session-started"
    assert ben.news() == ["guardian:session-started"]


async def test_a_start_that_waited_while_its_ward_was_shut_out_is_none(stage: Stage) -> None:
    ana, ben = await stage.ward("ana"), await stage.guardian("ben")
    ana.start()
    await settle()
    await stage.neighbour.storage.users.set_active("ana", False)
    stage.crank.hold()
    stage.spawn(stage.live.access_changed(None, {"ana"}))
    await settle()
    ana.stop()
    stage.crank.turn()
    await settle()
    ana.start()
    stage.crank.release()
    await settle()
    assert ben.news() == ["guardian:snapshot", "guardian:session-started", "session-ended"]
    assert not stage.live.sessions.has_active_session("ana") and ana.closed is not None


# -- rules 4 and 5 ---------------------------------------------------------------------------------------------------


async def test_the_wards_own_word_ends_the_session_at_once(stage: Stage) -> None:
    ana, ben = await stage.ward("ana"), await stage.guardian("ben")
    ana.start()
    await settle()
    stage.clock.advance(61.5)
    ana.leave()
    await settle()
    ended = ben.last("session-ended")
    assert (ended["reason"], ended["duration"]) == ("ward_disconnected", 62)


async def test_a_goodbye_to_a_server_that_stops_ends_the_session_and_a_loss_does_not(stage: Stage) -> None:
    ana, ida, tom = await stage.ward("ana"), await stage.ward("ida"), await stage.ward("tom")
    ana.start()
    ida.start()
    await settle()
    stage.crank.hold()
    tom.start()
    stopping = asyncio.ensure_future(stage.live.close())
    await settle()
    ana.leave()
    ida.lose()
    stage.crank.release()
    await stopping
    assert {one.ward.id for one in await stage.storage.journal.active()} == {"ida", "tom"}


async def test_the_close_of_another_device_changes_nothing(stage: Stage) -> None:
    ana, watch, ben = await stage.ward("ana"), await stage.ward("ana"), await stage.guardian("ben")
    ana.start()
    await settle()
    ben.news()
    watch.leave()
    await settle()
    assert ben.news() == []
    assert stage.live.sessions.has_active_session("ana")


async def test_a_lost_ward_is_told_at_once_and_the_return_carries_the_session_on(stage: Stage) -> None:
    ana, ben = await stage.ward("ana"), await stage.guardian("ben")
    ana.start()
    await settle()
    ben.news()
    ana.lose()
    await settle()
    assert ben.news() == ["session-interrupted"]
    lost, since = ben.last("session-interrupted"), stage.clock.wall
    assert (lost["since"], lost["endsAt"]) == (timestamp(since), timestamp(since + 30_000))
    stage.clock.advance(12)
    back = await stage.ward("ana")
    assert back.news() == ["session-started", "session-resumed"]
    assert ben.news() == ["session-resumed"]
    assert ben.last("session-resumed")["interruptedFor"] == 12
    stage.clock.advance(60)
    await settle()
    assert stage.live.sessions.has_active_session("ana")


async def test_a_ward_who_does_not_come_back_in_time_has_ended(stage: Stage) -> None:
    ana, ben = await stage.ward("ana"), await stage.guardian("ben")
    ana.start()
    await settle()
    ana.lose()
    stage.clock.advance(29.9)
    await settle()
    assert ben.all("session-ended") == []
    stage.clock.advance(0.2)
    await settle()
    assert ben.last("session-ended")["reason"] == "ward_disconnected"
    assert len(ben.all("session-ended")) == 1


async def test_a_return_wins_over_the_grace_that_goes_off_in_the_same_moment(stage: Stage) -> None:
    ana = await stage.ward("ana")
    ana.start()
    await settle()
    ana.lose()
    stage.clock.move(30)
    back = await stage.ward("ana")
    stage.clock.ring()
    await settle()
    assert stage.live.sessions.has_active_session("ana")
    assert back.news() == ["session-started", "session-resumed"]


async def test_a_phone_that_changed_its_network_carries_on_without_a_word(stage: Stage) -> None:
    ana, ben = await stage.ward("ana"), await stage.guardian("ben")
    ana.start()
    await settle()
    stage.clock.advance(3)
    newer = await stage.ward("ana")
    ben.news()
    ana.lose()
    await settle()
    assert ben.news() == []
    newer.leave()
    await settle()
    assert ben.last("session-ended")["reason"] == "ward_disconnected"


async def test_an_older_second_device_does_not_take_over(stage: Stage) -> None:
    watch = await stage.ward("ana")
    stage.clock.advance(5)
    ana, ben = await stage.ward("ana"), await stage.guardian("ben")
    ana.start()
    await settle()
    ana.lose()
    await settle()
    assert ben.news()[-1] == "session-interrupted"
    assert watch.closed is None
    # But whoever writes on it is there.
    watch.locate()
    watch.say("here")
    await settle()
    assert ben.news() == ["location-updated", "session-resumed", "message"]
    stage.clock.advance(30)
    await settle()
    assert ben.news() == []


async def test_another_page_of_the_browser_carries_the_session_on(stage: Stage) -> None:
    other, ben = await stage.ward("ana"), await stage.guardian("ben")
    stage.clock.advance(5)
    ana, laptop = await stage.ward("ana"), await stage.ward("ana")
    ana.browser = other.browser = "a phone's"
    laptop.browser = "a laptop's"
    stage.clock.advance(1)
    for device in (ana, other, laptop):
        device.last_heard = stage.clock.steady
    ana.start()
    await settle()
    ben.news()
    ana.lose()
    await settle()
    assert ben.news() == []
    other.lose()
    await settle()
    assert ben.news()[-1] == "session-interrupted"


# -- rule 6 ----------------------------------------------------------------------------------------------------------


async def test_whoever_is_accepted_during_a_session_joins_it_and_whoever_is_revoked_hears_no_more(stage: Stage) -> None:
    ana, mallory, ben = await stage.ward("ana"), await stage.guardian("mallory"), await stage.guardian("ben")
    ana.start()
    await settle()
    await stage.permit("ana", "mallory", "accepted")
    assert mallory.news()[1:] == ["guardian:session-started"]
    await stage.permit("ana", "ben", "revoked")
    ben.news()
    ana.locate()
    await settle()
    assert ben.all("guardian:access-revoked")[-1]["wardId"] == "ana"
    assert ben.news() == []
    assert mallory.news() == ["location-updated"]
    ana.lose()
    await stage.permit("ana", "mallory", "revoked")
    assert mallory.news() == ["session-interrupted", "guardian:access-revoked"]


async def test_the_ward_learns_who_guards_them_also_of_those_who_are_not_there(stage: Stage) -> None:
    ana = await stage.ward("ana")
    ana.start()
    await settle()
    ana.news()
    for change in (
        lambda: stage.permit("ana", "ben", "revoked"),
        lambda: stage.permit("ana", "mallory", "accepted"),
        lambda: stage.disable("mallory"),
    ):
        await change()
        assert ana.news() == ["guardians-changed"]
        await stage.live.access_changed({"ana"}, {"ben", "mallory"})
        await settle()
        assert ana.news() == []


async def test_the_ward_learns_of_a_guardian_who_is_shut_out_while_here_as_a_ward_only(stage: Stage) -> None:
    ana, ida = await stage.ward("ana"), await stage.ward("ida")
    await stage.ward("ben")
    ana.start()
    ida.start()
    chloe = await stage.guardian("chloe")
    for device in (ana, ida):
        device.news()
    for guardian in ("ben", "chloe"):
        await stage.disable(guardian)
        assert (ana.news(), ida.news()) == (["guardians-changed"], [])
    assert chloe.closed is not None and chloe.closed[0] == 4401


async def test_what_is_found_out_for_a_second_screen_holds_for_the_first_one_as_well(stage: Stage) -> None:
    ana, ben, mallory = await stage.ward("ana"), await stage.guardian("ben"), await stage.guardian("mallory")
    ana.start()
    await settle()
    pairs = stage.neighbour.storage.guardians
    await pairs.put("ana", "ben", "revoked", stage.clock.wall)
    await pairs.put("ana", "mallory", "accepted", stage.clock.wall)
    for device in (ana, ben, mallory):
        device.news()
    assert (await stage.guardian("ben")).news() == ["guardian:snapshot"]
    assert (await stage.guardian("mallory")).news() == ["guardian:snapshot", "guardian:session-started"]
    assert (ben.news(), mallory.news()) == (["guardian:access-revoked"], ["guardian:session-started"])
    assert ana.news() == ["guardians-changed", "guardians-changed"]
    assert ana.last("guardians-changed")["guardianIds"] == ["mallory"]
    started = (await stage.ward("ana")).last("session-started")
    assert [guardian["id"] for guardian in started["guardians"]] == ["chloe", "mallory"]


async def test_the_ward_learns_of_a_guardian_who_came_between_an_end_of_it_and_a_new_beginning(stage: Stage) -> None:
    ana = await stage.ward("ana")
    ana.start()
    await settle()
    pairs = stage.neighbour.storage.guardians
    await pairs.put("ana", "ben", "revoked", stage.clock.wall)
    ben = await stage.guardian("ben")
    await pairs.put("ana", "ben", "accepted", stage.clock.wall)
    ana.news()
    await stage.live.access_changed()
    await settle()
    assert ben.news() == ["guardian:snapshot", "guardian:session-started"]
    assert ana.news() == ["guardians-changed"]
    assert ana.last("guardians-changed")["guardianIds"] == ["ben"]


async def test_each_start_reaches_those_who_guard_the_ward_by_then_and_nobody_else(stage: Stage) -> None:
    ana, ben, mallory = await stage.ward("ana"), await stage.guardian("ben"), await stage.guardian("mallory")
    for _ in range(2):
        ana.start()
        ana.stop()
        await settle()
        await stage.permit("ana", "ben", "revoked")
        await stage.permit("ana", "mallory", "accepted")
    assert ben.all("guardian:session-started") and mallory.all("guardian:session-started")
    assert len(ben.all("session-ended")) == len(mallory.all("session-ended")) == 1


async def test_whoever_is_revoked_while_the_start_waits_hears_nothing(stage: Stage) -> None:
    ana, ben = await stage.ward("ana"), await stage.guardian("ben")
    ben.news()
    await stage.storage.guardians.put("ana", "ben", "revoked", 1)
    ana.start()
    await settle()
    assert ben.news() == []


async def test_a_disabled_ward_is_ended_and_closed(stage: Stage) -> None:
    ana, ben = await stage.ward("ana"), await stage.guardian("ben")
    ana.start()
    await settle()
    await stage.disable("ana")
    assert ben.last("session-ended")["reason"] == "account_disabled"
    assert ana.closed is not None and ana.closed[0] == 4401


# -- rule 9, and missing nothing -------------------------------------------------------------------------------------


async def test_a_guardian_who_was_away_hears_of_each_end_once_they_confirmed(stage: Stage) -> None:
    ana, ben = await stage.ward("ana"), await stage.guardian("ben")
    ana.start()
    await settle()
    ben.confirm()
    ben.lose()
    ana.stop()
    await settle()
    back = await stage.guardian("ben")
    assert back.news() == ["guardian:snapshot", "session-ended"]
    # What is told late is what was told at once.
    end = ana.last("session-ended")
    assert back.last("session-ended") == end and (end["wardFirstName"], end["wardLastName"]) == ("Ana", "Example")
    assert back.last("guardian:snapshot")["seq"] < end["seq"]
    back.confirm()
    back.lose()
    again = await stage.guardian("ben")
    assert again.news() == ["guardian:snapshot"]
    await stage.live.write_lazily()
    await stage.restart(crash=True)
    assert (await stage.guardian("ben")).news() == ["guardian:snapshot"]


async def test_who_came_first_while_nothing_could_be_written_hears_later_what_they_miss_then(stage: Stage) -> None:
    ana = await stage.ward("ana")
    stage.neighbour.lock_writing()
    ben = await stage.guardian("ben")
    stage.neighbour.unlock()
    ana.start()
    await settle()
    ben.lose()
    ana.stop()
    await settle()
    back = await stage.guardian("ben")
    assert back.news() == ["guardian:snapshot", "session-ended"]


async def test_an_end_that_waits_to_be_written_is_told_to_who_guarded_the_ward_and_still_does(stage: Stage) -> None:
    ana, earlier = await stage.ward("ana"), [await stage.guardian(name) for name in ("ben", "chloe", "mallory")]
    ana.start()
    await settle()
    for device in earlier:
        device.leave()
    stage.neighbour.lock_writing()
    with ExpectLog("liveguard.journaling", ".*cannot be written.*"):
        ana.stop()
        await settle()
    stage.neighbour.unlock()
    await stage.permit("ana", "ben", "revoked")
    await stage.permit("ana", "mallory", "accepted")
    ben, chloe, mallory = [await stage.guardian(device.person.id) for device in earlier]
    assert chloe.news() == ["guardian:snapshot", "session-ended"]
    assert ben.news() == mallory.news() == ["guardian:snapshot"]


async def test_of_a_session_that_has_ended_only_its_end_stays_and_not_for_long(stage: Stage) -> None:
    ana = await stage.ward("ana")
    ana.start()
    await settle()
    session_id = ana.last("session-started")["sessionId"]
    assert is_in_memory(session_id)
    ana.stop()
    await settle()
    stage.clock.advance(0)  # lets go of the timer that was cancelled
    assert not is_in_memory(session_id)
    for _ in range(2):
        assert [end.session_id for end in remembered_for("ben", stage)] == [session_id]
        await stage.live.write_lazily()
        stage.clock.advance(4)
    assert not remembered_for("ben", stage)


def remembered_for(guardian: str, stage: Stage) -> list[SessionEnded]:
    """The ends that this guardian would hear of from the memory, whatever the tables have."""
    return stage.live._journaling.unwritten_ends(guardian, {"ana": 0}, -1)


def is_in_memory(session_id: str) -> bool:
    gc.collect()
    return any(isinstance(one, LiveSession) and one.id == session_id for one in gc.get_objects())


async def test_after_a_crash_the_session_is_interrupted_and_carried_on(stage: Stage) -> None:
    ana = await stage.ward("ana")
    ana.start({"note": "home"})
    ana.locate(52.25)
    await settle()
    stage.neighbour.lock_writing()
    await stage.live.write_lazily()
    stage.neighbour.unlock()
    await stage.live.write_lazily()
    stage.clock.advance(90)
    stage.grace = 120
    await stage.restart(crash=True)
    ben = await stage.guardian("ben")
    (session,) = ben.last("guardian:snapshot")["sessions"]
    assert (session["state"], session["metadata"]) == ("interrupted", {"note": "home"})
    assert session["lastLocation"]["latitude"] == 52.25
    stage.clock.advance(119)
    back = await stage.ward("ana")
    assert back.news() == ["session-started", "session-resumed"]
    assert ben.news()[-1] == "session-resumed"
    back.stop()
    await settle()
    assert ben.last("session-ended")["duration"] == 209


async def test_a_restart_gives_a_ward_time_to_come_back_whatever_the_wall_clock_says(stage: Stage) -> None:
    ana = await stage.ward("ana")
    ana.start()
    await settle()
    stage.clock.wall += 25 * 3600 * 1000
    await stage.restart()
    ben = await stage.guardian("ben")
    stage.clock.advance(29)
    await settle()
    assert ben.news() == ["guardian:snapshot", "guardian:session-started"]
    back = await stage.ward("ana")
    assert (back.news(), ben.news()) == (["session-started", "session-resumed"], ["session-resumed"])
    stage.clock.advance(2)
    await settle()
    assert ben.last("session-ended")["reason"] == "expired"


async def test_an_end_by_a_clock_that_was_years_behind_is_told_once_it_is_right(stage: Stage) -> None:
    ana, ben = await stage.ward("ana"), await stage.guardian("ben")
    ana.start()
    await settle()
    ben.confirm()
    ben.leave()
    right = stage.clock.wall
    stage.clock.wall = 1_577_836_800_000  # as of a machine without a battery that comes up
    await stage.restart()
    stage.clock.advance(31)
    await settle()
    stage.clock.wall = right + 120_000
    assert stage.neighbour.rows("SELECT start_time, end_time, duration FROM sessions") == [(right, right + 31_000, 31)]
    back = await stage.guardian("ben")
    assert back.news() == ["guardian:snapshot", "session-ended"]
    assert back.last("session-ended")["endTime"] > back.last("session-ended")["startTime"]


async def test_a_clock_that_is_weeks_ahead_when_a_guardian_comes_makes_no_end_too_old_to_be_told(stage: Stage) -> None:
    ana, ben = await stage.ward("ana"), await stage.guardian("ben")
    ana.start()
    await settle()
    ben.confirm()
    ben.leave()
    ana.stop()
    await settle()
    stage.clock.wall += 21 * 24 * 3600 * 1000
    back = await stage.guardian("ben")
    assert back.news() == ["guardian:snapshot", "session-ended"]


async def test_of_two_sessions_that_a_crash_left_behind_the_older_ends_no_earlier_than_it_began(stage: Stage) -> None:
    ana, tom = await stage.ward("ana"), await stage.ward("tom")
    ana.start()
    tom.start()
    await settle()
    stage.neighbour.lock_writing()
    with ExpectLog("liveguard.journaling", ".*cannot be written.*"):
        ana.stop()
        tom.stop()
        await settle()
    stage.neighbour.unlock()
    started = stage.clock.wall
    stage.clock.wall -= 3600 * 1000
    ana.start()
    await settle()
    stage.clock.wall = started + 90 * 1000
    tom.start()
    await settle()
    await stage.restart(crash=True)
    rows = stage.neighbour.rows("SELECT start_time, end_time, duration FROM sessions ORDER BY ward_id, start_seq")
    assert rows[:2] == [(started, started, 0), (started - 3600 * 1000, None, None)]
    # And no later than the one that followed it.
    assert rows[2:] == [(started, started + 90 * 1000, 90), (started + 90 * 1000, None, None)]


async def test_after_a_day_it_has_expired(stage: Stage) -> None:
    ana, ben = await stage.ward("ana"), await stage.guardian("ben")
    ana.start()
    await settle()
    stage.clock.advance(24 * 3600)
    await settle()
    assert ben.last("session-ended")["reason"] == "expired"
