"""The people of a run: who guards whom, their tokens, and the plans that say who connects.

The same people serve every line: families of five guardians and a ward, pairs for the 500 wards, and crowds of each
size. A guardian of a family may stand in a pair and in crowds too.
"""

import json
import secrets
import sqlite3
import time
from pathlib import Path

import jwt

FAMILIES = 2048
FAMILY_SIZE = 5
PAIRS = 500
CROWDS = (10, 30, 100, 300, 1000, 3000, 5000)
TOKEN_LIFETIME = 24 * 3600

SCHEMA = """
CREATE TABLE users (
    id TEXT PRIMARY KEY, email TEXT NOT NULL, first_name TEXT NOT NULL, last_name TEXT NOT NULL,
    is_active INTEGER NOT NULL
);
CREATE TABLE guardians (
    ward_id TEXT NOT NULL, guardian_id TEXT NOT NULL, status TEXT NOT NULL, PRIMARY KEY (ward_id, guardian_id)
) WITHOUT ROWID;
CREATE INDEX guardians_by_guardian ON guardians (guardian_id, status);
"""


def guardian(number):
    return f"guardian-{number}"


def who_guards():
    """Each ward's guardians."""
    wards = {
        f"family-{number}": [guardian(number * FAMILY_SIZE + place) for place in range(FAMILY_SIZE)]
        for number in range(FAMILIES)
    }
    wards |= {f"pair-{number}": [guardian(2 * number), guardian(2 * number + 1)] for number in range(PAIRS)}
    wards |= {f"crowd-{size}": [guardian(number) for number in range(size)] for size in CROWDS}
    return wards


class People:
    """Everybody, in the forms in which servers and load want them, as files in one folder."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.secret = secrets.token_hex(32)
        self.wards = who_guards()
        self.ids = [guardian(number) for number in range(FAMILIES * FAMILY_SIZE)] + list(self.wards) + ["admin"]
        self.export = self.folder / "people.json"
        self.database = self.folder / "people.db"
        self.table = self.folder / "people.tsv"
        self._expires = int(time.time()) + TOKEN_LIFETIME
        self._write_export()
        self._write_database()
        self._write_table()

    def token(self, user_id):
        """A token as an identity provider would give it."""
        return jwt.encode({"sub": user_id, "exp": self._expires}, self.secret, algorithm="HS256")

    def _users(self):
        for user_id in self.ids:
            role, _, number = user_id.partition("-")
            yield user_id, f"{user_id}@example.org", role.capitalize(), number or "One"

    def _pairs(self):
        return [(ward, member) for ward, members in self.wards.items() for member in members]

    def _write_export(self):
        users = [
            {"id": user_id, "email": email, "firstName": first, "lastName": last, "isAdmin": user_id == "admin"}
            for user_id, email, first, last in self._users()
        ]
        pairs = [{"wardId": ward, "guardianId": member, "status": "accepted"} for ward, member in self._pairs()]
        self.export.write_text(json.dumps({"users": users, "guardians": pairs}))

    def _write_database(self):
        with sqlite3.connect(self.database) as database:
            database.executescript(SCHEMA)
            database.executemany("INSERT INTO users VALUES (?, ?, ?, ?, 1)", self._users())
            database.executemany("INSERT INTO guardians VALUES (?, ?, 'accepted')", self._pairs())
        database.close()

    def _write_table(self):
        lines = ["\t".join(("U", *user)) for user in self._users()]
        lines += ["\t".join(("P", *pair)) for pair in self._pairs()]
        self.table.write_text("\n".join(lines) + "\n")

    def plan(self, name, wards=(), idle=(), bystanders=()):
        """A file that tells the load who connects; the same name is written once."""
        path = self.folder / f"{name}.plan"
        if not path.exists():
            people = [("G", user_id) for user_id in idle]
            for ward in wards:
                people += [("W", ward), *(("G", member) for member in self.wards[ward])]
            people += [("B", user_id) for user_id in bystanders]
            path.write_text("".join(f"{letter} {self.token(user_id)}\n" for letter, user_id in people))
        return path
