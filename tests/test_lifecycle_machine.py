"""The lifecycle in any order: schedules drawn at random, played by the real program against a model of it."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from cast import Stage
from hypothesis import HealthCheck, Phase, currently_in_test_context, note, settings
from hypothesis import strategies as st
from hypothesis.internal.conjecture.data import Spans
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from lifecycle_mutants import MUTANTS
from lifecycle_world import GUARDIANS, PAIRS, WARDS, Phone, Screen, World

from liveguard.storage import transactions

# A process that is killed leaves things undone.
pytestmark = pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")

Deed = Callable[[World, "Step"], None]

PACES = ("at once", "one round", "two rounds", "to the database", "at rest")


BROWSERS = (None, "a phone's", "a laptop's")  # in which a ward's connection is opened


class Step(NamedTuple):
    """One thing that happens, to whom, and how far everything goes before the next one."""

    deed: str
    ward: str
    guardian: str
    which: int
    yes: bool
    seconds: float
    pace: str


def step(seed: int) -> Step:
    """Whatever the seed is, each deed is as likely as its weight says."""
    draw = random.Random(seed)
    (deed,) = draw.choices(list(DEEDS), [weight for weight, _ in DEEDS.values()])
    return Step(
        deed,
        draw.choice(WARDS),
        draw.choice(GUARDIANS),
        draw.choice((0, 0, 1, 2)),
        draw.random() < 0.5,
        draw.choice((0.5, 5, 30, 30, 30, 31, 600)),
        draw.choice((*PACES, "at rest", "at rest")),
    )


class Lifecycle(RuleBasedStateMachine):
    """What may befall a server, in any order."""

    template: Path
    path: Path
    world: World

    def __init__(self) -> None:
        super().__init__()
        self.began = False
        self.sound = False

    @initialize(
        grace=st.sampled_from([30.0, 30.0, 30.0, 0.0]),
        here=st.sampled_from([("ben",), ("ben", "chloe"), ("ben", "ben", "ana")]),
        on_their_way=st.sampled_from([("ana",), ("ana", "tom"), ("tom",), ()]),
        ahead=st.booleans(),
    )
    def begins(self, grace: float, here: tuple[str, ...], on_their_way: tuple[str, ...], ahead: bool = False) -> None:
        for left in self.path.parent.glob(f"{self.path.name}*"):
            left.unlink()
        self.world = World(self.template, self.path, grace, ahead=ahead)
        self.began = True
        for name in here:
            self.world.guardian_connects(name, program=True)
        self.go("at rest")
        for name in WARDS:
            self.world.ward_connects(name)
        for phone in list(self.world.phones):
            if phone.person.id in on_their_way:
                self.world.asks(phone, "start")
        self.go("at rest")

    @rule(step=st.integers(0, 2**32 - 1).map(step))
    def happens(self, step: Step) -> None:
        if currently_in_test_context():
            note(repr(step))
        _, deed = DEEDS[step.deed]
        deed(self.world, step)
        self.go(step.pace)

    def go(self, pace: str) -> None:
        """Let everything go so far, and look whether all is well."""
        self.sound = False
        if pace == "at rest":
            self.world.rest()
        elif pace == "to the database":
            self.world.settle()
        else:
            for _ in range(PACES.index(pace)):
                self.world.tick()
        self.world.check()
        self.sound = True

    def teardown(self) -> None:
        if not self.began:
            return
        try:
            if self.sound:
                self.world.finish()
        finally:
            self.world.close_all()


# -- what may happen -------------------------------------------------------------------------------------------------


def a_ward_connects(world: World, step: Step) -> None:
    if world.may_sign_in(step.ward):
        world.ward_connects(step.ward, BROWSERS[step.which % len(BROWSERS)])


def by_a_phone(deed: Callable[[World, Phone], None]) -> Deed:
    """Something that one of a ward's phones does, or that befalls it."""

    def does(world: World, step: Step) -> None:
        phones = [phone for phone in world.phones if phone.closed is None and phone.person.id == step.ward]
        if phones:
            deed(world, phones[-1 - step.which % len(phones)])

    return does


def asks_for(what: str) -> Deed:
    return by_a_phone(lambda world, phone: world.asks(phone, what))


def gives_a_sign_of_life(world: World, phone: Phone) -> None:
    phone.last_heard = world.clock.steady


def is_back_for_a_moment(world: World, step: Step) -> None:
    a_ward_connects(world, step)
    by_a_phone(lambda world, phone: phone.lose())(world, step._replace(which=0))


def stops_and_starts(world: World, phone: Phone) -> None:
    world.asks(phone, "stop")
    world.asks(phone, "start")


def a_guardian_connects(world: World, step: Step) -> None:
    if world.may_sign_in(step.guardian):
        world.guardian_connects(step.guardian, program=step.yes)


def by_a_screen(deed: Callable[[World, Screen, Step], None]) -> Deed:
    """Something that one of a guardian's screens does, or that befalls it."""

    def does(world: World, step: Step) -> None:
        screens = [one for one in world.screens if one.closed is None and one.person.id == step.guardian]
        if screens:
            deed(world, screens[-1 - step.which % len(screens)], step)

    return does


def leaves(world: World, screen: Screen, step: Step) -> None:
    screen.confirm()
    screen.leave()


def is_lost(world: World, screen: Screen, step: Step) -> None:
    if step.yes:
        screen.lose_tail()
    screen.lose()


def a_pair_changes(world: World, step: Step) -> None:
    pair = PAIRS[(step.which + len(step.guardian)) % len(PAIRS)]
    status = "revoked" if step.yes and world.paired(*pair) else "accepted"
    world.spawn(world.permit_by(step.seconds > 5, *pair, status))


def an_account_changes(world: World, step: Step) -> None:
    name = ("ana", "ben")[step.which % 2]
    world.spawn(world.activate_by(step.seconds > 5, name, not step.yes or not world.may_sign_in(name)))


def an_admin_ends_a_session(world: World, step: Step) -> None:
    sessions = list(world.model.sessions)
    if sessions:
        world.spawn(world.admin_ends(sessions[-1 - step.which % len(sessions)]))


def the_wall_clock_jumps(world: World, step: Step) -> None:
    world.clock.wall += 3_600_000 if step.yes else -3_600_000


def the_file_is_locked(world: World, step: Step) -> None:
    if not world.locked:
        world.lock("all" if step.yes else "writing")


DEEDS: dict[str, tuple[int, Deed]] = {
    "a ward connects": (5, a_ward_connects),
    "a ward starts": (10, asks_for("start")),
    "a ward stops": (2, asks_for("stop")),
    "a ward stops and starts": (2, by_a_phone(stops_and_starts)),
    "a ward is back for a moment": (2, is_back_for_a_moment),
    "a ward is somewhere": (2, asks_for("locate")),
    "a ward writes": (1, asks_for("say")),
    "a ward leaves": (2, by_a_phone(lambda world, phone: phone.leave())),
    "a ward is lost": (7, by_a_phone(lambda world, phone: phone.lose())),
    "a ward gives a sign of life": (1, by_a_phone(gives_a_sign_of_life)),
    "a ward's token expires": (1, by_a_phone(lambda world, phone: phone.close(4401))),
    "a guardian connects": (8, a_guardian_connects),
    "a guardian gives a sign of life": (3, by_a_screen(lambda world, screen, step: screen.confirm())),
    "a guardian writes": (1, by_a_screen(lambda world, screen, step: world.guardian_says(screen, step.ward))),
    "a guardian leaves": (2, by_a_screen(leaves)),
    "a guardian is lost": (4, by_a_screen(is_lost)),
    "a pair changes": (5, a_pair_changes),
    "an account changes": (4, an_account_changes),
    "an admin ends a session": (1, an_admin_ends_a_session),
    "time passes": (5, lambda world, step: world.time_passes(step.seconds, arrives=True)),
    "time passes, unnoticed as yet": (4, lambda world, step: world.time_passes(step.seconds, arrives=False)),
    "what has gone off arrives": (4, lambda world, step: world.ring()),
    "the wall clock jumps": (1, the_wall_clock_jumps),
    "the database works": (4, lambda world, step: world.crank.work()),
    "the database answers": (4, lambda world, step: world.crank.answer()),
    "the file is locked": (2, the_file_is_locked),
    "the file is free": (4, lambda world, step: world.unlock()),
    "the server looks what has changed": (3, lambda world, step: world.spawn(world.look())),
    "the server writes what may be late": (2, lambda world, step: world.spawn(world.live.write_lazily())),
    "the process is killed": (1, lambda world, step: world.do(world.ends_and_begins(crash=True))),
    "the process ends in order": (1, lambda world, step: world.do(world.ends_and_begins(crash=False))),
}


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
    # Five of six schedules would be copies of the one before with a step or two repeated: each shall be a new one.
    monkeypatch.setattr(Spans, "mutator_groups", [])
    monkeypatch.setattr(Lifecycle, "template", template, raising=False)
    monkeypatch.setattr(Lifecycle, "path", tmp_path / "liveguard.db", raising=False)
    return Lifecycle


@pytest.mark.slow
def test_whatever_happens_in_whatever_order_the_rules_hold(machine: type[Lifecycle], torture: bool) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=10_000 if torture else 100,
            stateful_step_count=50,
            derandomize=not torture,
            database=None,
            deadline=None,
            phases=[Phase.generate, Phase.shrink],
            print_blob=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


def follow(
    machine: type[Lifecycle],
    *steps: Step,
    here: tuple[str, ...] = ("ben",),
    on_their_way: tuple[str, ...] = ("ana",),
    ahead: bool = False,
) -> None:
    """Play a schedule that is known; Ana is on her way."""
    lifecycle = machine()
    lifecycle.begins(grace=30.0, here=here, on_their_way=on_their_way, ahead=ahead)
    try:
        for step in steps:
            lifecycle.happens(step)
    finally:
        lifecycle.teardown()


def test_an_end_that_is_being_written_is_told_once(machine: type[Lifecycle]) -> None:
    """Found by a schedule: a guardian connects between the write of an end that had waited and the news of it."""
    follow(
        machine,
        Step("the file is locked", "tom", "chloe", 1, True, 31, "at rest"),
        Step("a ward leaves", "ana", "ben", 0, False, 5, "at rest"),
        Step("the file is free", "ana", "ana", 0, False, 5, "one round"),
        Step("time passes", "tom", "ben", 0, False, 30, "one round"),
        Step("a guardian connects", "tom", "ben", 2, True, 30, "to the database"),
        Step("the process ends in order", "ana", "ben", 1, False, 30, "at rest"),
    )


def test_an_end_that_was_written_late_is_told_in_its_order(machine: type[Lifecycle]) -> None:
    """Found by a schedule: another end is written between the late one and the news of it."""
    follow(
        machine,
        Step("a ward leaves", "tom", "mallory", 1, True, 0.5, "one round"),
        Step("time passes", "ana", "chloe", 2, False, 30, "at once"),
        Step("time passes", "ana", "chloe", 2, False, 0.5, "at rest"),  # before it counts as late, somebody looks twice
        Step("a ward leaves", "ana", "mallory", 1, False, 600, "at rest"),
        on_their_way=("ana", "tom"),
        ahead=True,
    )


# What finds each of them out; of some, it shows as soon as a session begins.
KNOWN: dict[str, tuple[Step, ...]] = {
    "a ward has no queue": (),
    "what is over ends what has ended": (),
    "an end keeps its place": (),
    "ends that are not written are nobody's to learn": (
        Step("a ward stops and starts", "tom", "ben", 0, True, 31, "one round"),
        Step("a guardian leaves", "ana", "ana", 0, True, 5, "at rest"),
        Step("a pair changes", "tom", "ben", 0, False, 31, "at rest"),
        Step("the file is locked", "tom", "ana", 0, False, 5, "two rounds"),
        Step("a ward stops", "tom", "chloe", 1, True, 31, "to the database"),
        Step("a guardian connects", "ana", "ana", 0, True, 30, "at rest"),
    ),
    "any grace that is over ends any interruption": (
        Step("a ward is lost", "ana", "ben", 0, True, 5, "at rest"),
        Step("time passes, unnoticed as yet", "ana", "ben", 0, True, 30, "at rest"),
        Step("a ward is back for a moment", "ana", "ben", 0, True, 5, "at rest"),
        Step("what has gone off arrives", "ana", "ben", 0, True, 5, "at rest"),
    ),
    "a grace that is over ends a session that goes on": (
        Step("a ward is lost", "ana", "ben", 0, True, 5, "at rest"),
        Step("time passes, unnoticed as yet", "ana", "ben", 0, True, 30, "at rest"),
        Step("a ward connects", "ana", "ben", 0, True, 5, "at rest"),
        Step("what has gone off arrives", "ana", "ben", 0, True, 5, "at rest"),
    ),
    "an older device takes over": (
        Step("a ward connects", "ana", "ben", 0, True, 5, "at rest"),
        Step("time passes", "ana", "ben", 0, True, 5, "at rest"),
        Step("a ward gives a sign of life", "ana", "ben", 1, True, 5, "at rest"),
        Step("a ward is lost", "ana", "ben", 1, True, 5, "at rest"),
    ),
    "an end does not wait for its beginning": (
        Step("the file is locked", "tom", "ben", 0, True, 5, "at rest"),
        Step("a ward starts", "tom", "ben", 0, True, 5, "at rest"),
        Step("the file is free", "tom", "ben", 0, True, 5, "at once"),
        Step("a ward stops", "tom", "ben", 0, True, 5, "at rest"),
    ),
    "the room's changes are told after its end": (
        Step("a guardian leaves", "ana", "ben", 0, True, 5, "at rest"),
        Step("a ward stops and starts", "ana", "mallory", 1, False, 30, "one round"),
        Step("a guardian is lost", "tom", "ben", 0, True, 0.5, "at rest"),
    ),
    "another page of the browser does not": (
        Step("a ward connects", "ana", "ana", 2, False, 5, "at rest"),
        Step("a ward connects", "ana", "mallory", 2, False, 31, "at once"),
        Step("an admin ends a session", "ana", "chloe", 1, False, 30, "at rest"),
        Step("a ward starts", "ana", "ana", 0, True, 30, "to the database"),
        Step("a ward is lost", "ana", "chloe", 0, False, 30, "at rest"),
    ),
    "a ward who writes is lost all the same": (
        Step("a ward connects", "ana", "ben", 0, True, 5, "at rest"),
        Step("time passes", "ana", "ben", 0, True, 5, "at rest"),
        Step("a ward gives a sign of life", "ana", "ben", 1, True, 5, "at rest"),
        Step("a ward is lost", "ana", "ben", 1, True, 5, "at rest"),
        Step("a ward writes", "ana", "ben", 0, True, 5, "at rest"),
    ),
    "a second device knows less than the first": (
        Step("a pair changes", "ana", "ben", 1, True, 5, "at once"),
        Step("a guardian connects", "tom", "ben", 1, True, 30, "at rest"),
    ),
    "a guardian comes in who has gone while the database was read": (
        Step("a guardian connects", "ana", "mallory", 0, False, 30, "one round"),
        Step("a guardian is lost", "ana", "mallory", 0, False, 30, "at rest"),
    ),
    "revoked guardians stay": (
        Step("a ward starts", "tom", "ben", 0, False, 30, "at rest"),
        Step("a pair changes", "ana", "ben", 1, True, 30, "at rest"),
    ),
    "an admin ends what has ended": (
        Step("an admin ends a session", "ana", "ben", 0, False, 30, "at once"),
        Step("an admin ends a session", "ana", "ben", 0, False, 30, "at rest"),
    ),
    "the slot is taken after the first await": (
        Step("a ward starts", "ana", "ben", 0, False, 30, "at rest"),
    ),
    "disabled guardians stay": (
        Step("an account changes", "ana", "ben", 0, True, 30, "at rest"),
    ),
    "leaving twice is a fault": (
        Step("an account changes", "ana", "ben", 0, True, 30, "at rest"),
    ),
    "disabled wards stay": (
        Step("an account changes", "ana", "ben", 0, True, 30, "at rest"),
    ),
    "a room outlives its session": (
        Step("a ward is lost", "ana", "ben", 0, False, 30, "at rest"),
        Step("time passes", "ana", "ben", 0, False, 30, "at rest"),
    ),
    "timers are not cancelled": (
        Step("a ward's token expires", "ana", "ben", 0, False, 30, "at rest"),
    ),
    "any device carries the session": (
        Step("a ward is back for a moment", "ana", "ben", 0, False, 30, "at rest"),
    ),
    "leaving a room is no leaving": (
        Step("a ward starts", "tom", "ben", 0, False, 30, "at rest"),
        Step("a pair changes", "ana", "ben", 1, True, 30, "at rest"),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("mutant", KNOWN)
def test_with_all_guards_the_known_schedules_go_well(machine: type[Lifecycle], mutant: str) -> None:
    follow(machine, *KNOWN[mutant], here=("ben", "ben", "ana"))


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS)
def test_without_one_of_the_guards_they_do_not(
    machine: type[Lifecycle], mutant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for change in MUTANTS[mutant]:
        change.apply(monkeypatch)
    with pytest.raises(AssertionError):
        follow(machine, *KNOWN[mutant], here=("ben", "ben", "ana"))
