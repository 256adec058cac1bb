"""How people want to read: their language, time zone and clock."""

import asyncio
import sqlite3

from msgspec import Struct

from liveguard.storage.database import Database


class Preferences(Struct, frozen=True):
    """What somebody chose; empty where they leave it to their browser."""

    language: str = ""
    time_zone: str = ""
    hours: str = ""


class PreferencesOfPeople:
    """The preferences, by person."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, user_id: str) -> asyncio.Future[Preferences]:
        """Those of one person."""

        def job(db: sqlite3.Connection) -> Preferences:
            row = db.execute(
                "SELECT language, time_zone, hours FROM preferences WHERE user_id = ?", (user_id,)
            ).fetchone()
            return Preferences(*row) if row else Preferences()

        return self._database.submit(job, write=False)

    def put(self, user_id: str, chosen: Preferences) -> asyncio.Future[None]:
        """Others for one person."""

        def job(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT OR REPLACE INTO preferences (user_id, language, time_zone, hours) VALUES (?, ?, ?, ?)",
                (user_id, chosen.language, chosen.time_zone, chosen.hours),
            )

        return self._database.submit(job, write=True)
