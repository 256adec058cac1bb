"""The lifecycle in any order: schedules drawn at random, played by the real program against the model of PROTOCOL 5."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cast import Stage
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from lifecycle_world import GUARDIANS, PAIRS, WARDS, Phone, Screen, World

from liveguard.storage import transactions

# A process that is killed leaves things undone.
pytestmark = pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")

PACES = ("at once", "one round", "two rounds", "to the database", "at rest", "at rest", "at rest")
pace = st.sampled_from(PACES)
which = st.integers(0, 5)


class Lifecycle(RuleBasedStateMachine):
    """What may befall a server. Each step says how far everything goes before the next one."""

    template: Path
    path: Path

    def __init__(self) -> None:
        super().__init__()
        self.world: World | None = None
        self.sound = True

    @initialize(
        grace=st.sampled_from([30.0, 30.0, 30.0, 0.0]),
        here=st.sampled_from([("ben",), ("ben", "chloe"), ("ben", "ben", "ana")]),
        on_their_way=st.sampled_from([("ana",), ("ana", "tom"), ("tom",), ()]),
    )
    def begins(self, grace: float, here: tuple[str, ...], on_their_way: tuple[str, ...]) -> None:
        self.path.unlink(missing_ok=True)
        self.world = World(self.template, self.path, grace)
        for name in here:
            self.world.guardian_connects(name, program=True)
        self.go("at rest")
        for name in WARDS:
            self.world.ward_connects(name)
        for phone in list(self.world.phones):
            if phone.person.id in on_their_way:
                self.world.asks(phone, "start")
        self.go("at rest")

    def go(self, pace: str) -> None:
        """Let time go on so far, and look whether all is well."""
        world = self.world
        assert world is not None
        self.sound = False
        if pace == "at rest":
            world.rest()
        elif pace == "to the database":
            world.settle()
        else:
            for _ in range(PACES.index(pace)):
                world.tick()
        world.check()
        self.sound = True

    @property
    def phones(self) -> list[Phone]:
        return [phone for phone in self.world.phones if phone.closed is None]

    def phone(self, which: int) -> Phone:
        return self.phones[-1 - which % len(self.phones)]

    @property
    def screens(self) -> list[Screen]:
        return [screen for screen in self.world.screens if screen.closed is None]

    def screen(self, which: int) -> Screen:
        return self.screens[-1 - which % len(self.screens)]

    # -- wards -----------------------------------------------------------------------------------------------------

    @rule(name=st.sampled_from(WARDS), pace=pace)
    def a_ward_connects(self, name: str, pace: str) -> None:
        if self.world.may_sign_in(name):
            self.world.ward_connects(name)
        self.go(pace)

    @precondition(lambda self: self.phones)
    @rule(which=which, what=st.sampled_from(["start", "start", "start", "stop", "stop", "locate", "say"]), pace=pace)
    def a_ward_asks(self, which: int, what: str, pace: str) -> None:
        self.world.asks(self.phone(which), what)
        self.go(pace)

    @precondition(lambda self: self.phones)
    @rule(which=which, own_word=st.booleans(), pace=pace)
    def a_ward_goes(self, which: int, own_word: bool, pace: str) -> None:
        phone = self.phone(which)
        phone.leave() if own_word else phone.lose()
        self.go(pace)

    @precondition(lambda self: self.phones)
    @rule(which=which, pace=pace)
    def a_ward_gives_a_sign_of_life(self, which: int, pace: str) -> None:
        self.phone(which).last_heard = self.world.clock.steady
        self.go(pace)

    @precondition(lambda self: self.phones)
    @rule(which=which, pace=pace)
    def a_wards_token_expires(self, which: int, pace: str) -> None:
        self.phone(which).close(4401)
        self.go(pace)

    # -- guardians -------------------------------------------------------------------------------------------------

    @rule(name=st.sampled_from(GUARDIANS), program=st.booleans(), pace=pace)
    def a_guardian_connects(self, name: str, program: bool, pace: str) -> None:
        if self.world.may_sign_in(name):
            self.world.guardian_connects(name, program)
        self.go(pace)

    @precondition(lambda self: self.screens)
    @rule(which=which, how=st.sampled_from(["leaves", "lost", "lost with what was sent"]), pace=pace)
    def a_guardian_goes(self, which: int, how: str, pace: str) -> None:
        screen = self.screen(which)
        if how == "leaves":
            screen.confirm()
            screen.leave()
        else:
            if how == "lost with what was sent":
                screen.lose_tail()
            screen.lose()
        self.go(pace)

    @precondition(lambda self: self.screens)
    @rule(which=which, pace=pace)
    def a_guardian_gives_a_sign_of_life(self, which: int, pace: str) -> None:
        self.screen(which).confirm()
        self.go(pace)

    @precondition(lambda self: self.screens)
    @rule(which=which, name=st.sampled_from(WARDS), pace=pace)
    def a_guardian_speaks(self, which: int, name: str, pace: str) -> None:
        self.world.guardian_says(self.screen(which), name)
        self.go(pace)

    # -- who guards whom -------------------------------------------------------------------------------------------

    @rule(pair=st.sampled_from(PAIRS), accept=st.booleans(), beside=st.booleans(), pace=pace)
    def a_pair_changes(self, pair: tuple[str, str], accept: bool, beside: bool, pace: str) -> None:
        self.world.spawn(self.world.permit_by(beside, *pair, "accepted" if accept else "revoked"))
        self.go(pace)

    @rule(name=st.sampled_from(["ana", "tom", "ben"]), active=st.booleans(), beside=st.booleans(), pace=pace)
    def an_account_changes(self, name: str, active: bool, beside: bool, pace: str) -> None:
        self.world.spawn(self.world.activate_by(beside, name, active))
        self.go(pace)

    @rule(pace=pace)
    def the_server_looks_what_has_changed(self, pace: str) -> None:
        self.world.spawn(self.world.look())
        self.go(pace)

    @rule(which=which, pace=pace)
    def an_admin_ends_a_session(self, which: int, pace: str) -> None:
        sessions = list(self.world.model.sessions)
        if sessions:
            self.world.spawn(self.world.admin_ends(sessions[-1 - which % len(sessions)]))
        self.go(pace)

    # -- time, and the machine -------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.5, 5, 30, 30, 31, 600]), arrives=st.booleans(), pace=pace)
    def time_passes(self, seconds: float, arrives: bool, pace: str) -> None:
        self.world.time_passes(seconds, arrives)
        self.go(pace)

    @precondition(lambda self: self.world.clock.rings)
    @rule(pace=pace)
    def what_has_gone_off_arrives(self, pace: str) -> None:
        self.world.ring()
        self.go(pace)

    @rule(hours=st.sampled_from([-1, 1]))
    def the_wall_clock_jumps(self, hours: int) -> None:
        self.world.clock.wall += hours * 3_600_000

    @precondition(lambda self: self.world.crank.waiting)
    @rule(pace=pace)
    def the_database_works(self, pace: str) -> None:
        self.world.crank.work()
        self.go(pace)

    @precondition(lambda self: self.world.crank.waiting)
    @rule(pace=pace)
    def the_database_answers(self, pace: str) -> None:
        self.world.crank.answer()
        self.go(pace)

    @precondition(lambda self: not self.world.locked)
    @rule(how=st.sampled_from(["writing", "all"]))
    def the_file_is_locked(self, how: str) -> None:
        self.world.lock(how)

    @precondition(lambda self: self.world.locked)
    @rule(pace=pace)
    def the_file_is_free_again(self, pace: str) -> None:
        self.world.unlock()
        self.go(pace)

    @rule(pace=pace)
    def what_may_be_late_is_written(self, pace: str) -> None:
        self.world.spawn(self.world.live.write_lazily())
        self.go(pace)

    @rule(crash=st.booleans())
    def the_process_ends_and_another_begins(self, crash: bool) -> None:
        self.world.do(self.world.ends_and_begins(crash))
        self.go("at rest")

    def teardown(self) -> None:
        if self.world is None:
            return
        try:
            if self.sound:
                self.world.finish()
        finally:
            self.world.close_all()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with everybody in it, made once."""
    path = tmp_path_factory.mktemp("template") / "liveguard.db"

    async def furnish() -> None:
        stage = await Stage(path).open()
        await stage.close()

    asyncio.run(furnish())
    return path


@pytest.fixture
def machine(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[Lifecycle]:
    """The machine, with a place for its files. Nobody waits for locks."""
    monkeypatch.setattr(transactions, "PATIENT", 0)
    monkeypatch.setattr(transactions, "HURRIED", 0)
    monkeypatch.setattr(Lifecycle, "template", template, raising=False)
    monkeypatch.setattr(Lifecycle, "path", tmp_path / "liveguard.db", raising=False)
    return Lifecycle


def play(machine: type[Lifecycle], schedules: int, *, derandomize: bool) -> None:
    """Play so many schedules."""
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=schedules,
            stateful_step_count=50,
            derandomize=derandomize,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.slow
def test_whatever_happens_in_whatever_order_the_rules_hold(machine: type[Lifecycle], torture: bool) -> None:
    play(machine, 10_000 if torture else 150, derandomize=not torture)
