"""Who guards whom: a ward invites, the one who was invited accepts or declines, and either of them may end it."""

from collections.abc import Iterable

from liveguard.clock import Clock
from liveguard.errors import InvalidPayload, NotAllowed, NotFound, UnknownEmail
from liveguard.events import Person
from liveguard.people.accounts import AccessChanged
from liveguard.storage import Guardianship, Link, Status, Storage, User


class Guardianships:
    """The pairs of ward and guardian. What is somebody else's does not exist for those whom it does not concern."""

    def __init__(self, storage: Storage, clock: Clock, access_changed: AccessChanged) -> None:
        self._storage = storage
        self._clock = clock
        self._access_changed = access_changed

    async def of_ward(self, user: User) -> list[Guardianship]:
        """Those who guard this person, or were asked to, whatever became of it."""
        return await self._storage.guardians.list_for_ward(user.id)

    async def of_guardian(self, user: User) -> list[Guardianship]:
        """Those whom this person guards, or was asked to, whatever became of it."""
        return await self._storage.guardians.list_for_guardian(user.id)

    async def guardians_of(self, user: User) -> list[Person]:
        """Those who guard this person now, and may come in: whom a session would reach."""
        return await self._storage.guardians.accepted_of(user.id)

    async def wards_of(self, user: User) -> list[Person]:
        """Those whom this person guards now."""
        return await self._storage.guardians.wards_of(user.id)

    async def waiting_for(self, user: User) -> int:
        """How many invitations this person has not answered."""
        return await self._storage.guardians.waiting_for(user.id)

    async def everything(self) -> list[Guardianship]:
        """All pairs, for an admin or the operator."""
        return await self._storage.guardians.all()

    async def of_wards(self, ward_ids: Iterable[str]) -> list[Guardianship]:
        """Those who guard these wards, or were asked to, for an admin."""
        return await self._storage.guardians.of_wards(ward_ids)

    async def arrange(self, ward_email: str, guardian_email: str, status: Status) -> Guardianship:
        """An admin decides. Raises UnknownEmail where nobody here has it, and NotAllowed for one and the same."""
        ward = await self._storage.users.by_email(ward_email)
        if ward is None:
            raise UnknownEmail(ward_email)
        guardian = await self._storage.users.by_email(guardian_email)
        if guardian is None:
            raise UnknownEmail(guardian_email)
        return await self.put(ward.id, guardian.id, status)

    async def dissolve(self, guardianship_id: str) -> Guardianship:
        """An admin ends it. Raises NotFound."""
        return await self._told(await self._storage.guardians.set_status(guardianship_id, "revoked", self._now))

    async def invite(self, ward: User, email: str) -> Guardianship:
        """Ask somebody to guard this ward; after a no, or an end, they are asked again.

        Raises UnknownEmail where nobody here has it, and InvalidPayload for the ward's own.
        """
        guardian = await self._storage.users.by_email(email)
        if guardian is None or not guardian.is_active:
            raise UnknownEmail(email)
        if guardian.id == ward.id:
            raise InvalidPayload("email must be somebody else's: nobody is their own guardian")
        return await self._told(await self._storage.guardians.invite(ward.id, guardian.id, self._now))

    async def accept(self, user: User, guardianship_id: str) -> Guardianship:
        """The invited one says yes. Raises NotFound, NotAllowed to the ward, and Conflict if it is not pending."""
        return await self._answer(user, guardianship_id, "accepted")

    async def decline(self, user: User, guardianship_id: str) -> Guardianship:
        """The invited one says no."""
        return await self._answer(user, guardianship_id, "declined")

    async def revoke(self, user: User, guardianship_id: str) -> Guardianship:
        """Either side ends it. Raises NotFound."""
        known = await self._of(user, guardianship_id)
        leaves = user.id == known.guardian.id
        return await self._told(await self._storage.guardians.set_status(known.id, "revoked", self._now, leaves=leaves))

    async def put(self, ward_id: str, guardian_id: str, status: Status) -> Guardianship:
        """The operator decides; to be asked takes nothing from whoever guards already.

        Raises NotFound, and NotAllowed for somebody's own guard.
        """
        if status == "pending":
            return await self._told(await self._storage.guardians.invite(ward_id, guardian_id, self._now))
        return await self._told(await self._storage.guardians.put(ward_id, guardian_id, status, self._now))

    async def follow_link(self, link: Link, guardian: User) -> Guardianship:
        """Somebody follows an invitation. Raises NotFound where it was used, or either side has ended it since."""
        return await self._told(await self._storage.guardians.follow_link(link, guardian.id, self._now))

    async def _answer(self, user: User, guardianship_id: str, status: Status) -> Guardianship:
        known = await self._of(user, guardianship_id)
        if known.guardian.id != user.id:
            raise NotAllowed("Only the one who was invited can answer")
        changed = await self._storage.guardians.set_status(known.id, status, self._now, only_from=("pending",))
        return await self._told(changed)

    async def _of(self, user: User, guardianship_id: str) -> Guardianship:
        known = await self._storage.guardians.get(guardianship_id)
        if known is None or user.id not in (known.ward.id, known.guardian.id):
            raise NotFound
        return known

    async def _told(self, changed: Guardianship) -> Guardianship:
        await self._access_changed({changed.ward.id}, {changed.guardian.id})
        return changed

    @property
    def _now(self) -> int:
        return self._clock.now().wall
