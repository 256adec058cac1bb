"""Who is connected, and who listens to which room.

A *presence* is a person together with the connections that they hold in one role. A ward's room, ``ward:{userId}``,
is the ward's presence and those of the guardians who listen. People join rooms, connections belong to people:
so a guardian's second device is in all the rooms of the first, and leaving is one step for all of them.
"""

from collections.abc import Iterator

from liveguard.events import Connection, Notice, Person, Request


class Presence:
    """A person's open connections in one role, the oldest first, and the rooms of others that they listen to."""

    __slots__ = ("connections", "person", "rooms")

    def __init__(self, person: Person) -> None:
        self.person = person
        self.connections: list[Connection] = []
        self.rooms: set[Room] = set()

    def hold(self, connections: list[Connection]) -> None:
        """From now on these are the open ones. A new list: somebody may be sending to the old one."""
        self.connections = connections
        for room in self.rooms:
            room.somebody_changed()

    def send(self, notice: Notice, request: Request | None = None) -> None:
        """Send to all connections; to the one that made the request, as its answer."""
        asking = request and request.connection
        for connection in self.connections:
            connection.send(notice, request if connection is asking else None)


class Room:
    """Those who hear of one ward: the ward, and the guardians who are connected, accepted and listening."""

    __slots__ = ("_listening", "_wards", "guardians", "ward_id")

    def __init__(self, ward_id: str, wards: "Presences") -> None:
        self.ward_id = ward_id
        self.guardians: dict[str, Presence] = {}
        self._wards = wards
        self._listening: list[Connection] | None = None

    @property
    def name(self) -> str:
        """The room's name on the wire."""
        return f"ward:{self.ward_id}"

    def join(self, presence: Presence) -> bool:
        """Let a guardian listen. False when they did already."""
        if presence.person.id in self.guardians:
            return False
        self.guardians[presence.person.id] = presence
        presence.rooms.add(self)
        self.somebody_changed()
        return True

    def leave(self, guardian_id: str) -> Presence | None:
        """Let a guardian listen no more; idempotent. Returns the presence of one who did."""
        presence = self.guardians.pop(guardian_id, None)
        if presence is not None:
            presence.rooms.discard(self)
            self.somebody_changed()
        return presence

    def close(self) -> None:
        """Let everybody leave."""
        for guardian_id in list(self.guardians):
            self.leave(guardian_id)

    def tell(self, notice: Notice, request: Request | None = None) -> None:
        """Send to everybody; to the connection that made the request, as its answer."""
        self.tell_guardians(notice, request)
        self.tell_ward(notice, request)

    def tell_guardians(self, notice: Notice, request: Request | None = None) -> None:
        """Send to each connection of each guardian in the room."""
        if self._listening is None:
            self._listening = [
                connection for guardian in self.guardians.values() for connection in guardian.connections
            ]
        asking = request and request.connection
        for connection in self._listening:
            connection.send(notice, request if connection is asking else None)

    def somebody_changed(self) -> None:
        """A guardian has come or gone, or has other connections than before. A list is never changed: somebody may be
        sending to it. Kept from one notice to the next, it makes for 1.10 times the deliveries to 1,000 guardians.
        """
        self._listening = None

    def tell_ward(self, notice: Notice, request: Request | None = None) -> None:
        """Send to each connection of the ward."""
        presence = self._wards.get(self.ward_id)
        if presence is not None:
            presence.send(notice, request)


class Presences:
    """All who are connected in one role, by the id of the person."""

    def __init__(self) -> None:
        self._by_person: dict[str, Presence] = {}

    def __len__(self) -> int:
        return len(self._by_person)

    def __iter__(self) -> Iterator[Presence]:
        return iter(list(self._by_person.values()))

    def get(self, person_id: str) -> Presence | None:
        """The presence of a person, if they are connected."""
        return self._by_person.get(person_id)

    def holds(self, connection: Connection) -> bool:
        """Whether a connection has come and not gone."""
        presence = self._by_person.get(connection.person.id)
        return presence is not None and connection in presence.connections

    def connections(self, person_id: str) -> list[Connection]:
        """A copy of a person's connections, the oldest first; empty when there are none."""
        presence = self._by_person.get(person_id)
        return list(presence.connections) if presence else []

    def arrive(self, connection: Connection) -> Presence:
        """Add a connection. The presence holds it alone when the person has just come."""
        presence = self._by_person.get(connection.person.id)
        if presence is None:
            presence = self._by_person[connection.person.id] = Presence(connection.person)
        presence.hold([*presence.connections, connection])
        return presence

    def depart(self, connection: Connection) -> Presence | None:
        """Take a connection away; idempotent. Returns the presence when its person has now gone, rooms untouched."""
        presence = self._by_person.get(connection.person.id)
        if presence is None or connection not in presence.connections:
            return None
        presence.hold([other for other in presence.connections if other is not connection])
        if presence.connections:
            return None
        del self._by_person[connection.person.id]
        return presence
