"""The shape of the database, as numbered steps.

Each step is a list of single statements (``executescript`` would commit what is pending) and is applied in one
transaction together with its record. A step that has been released is never changed: the next one changes the shape.
"""

import sqlite3
from pathlib import Path

from liveguard.errors import ConfigurationError

APPLICATION_ID = 0x4C475244  # tells the file from those of other programs

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE users (
            id TEXT PRIMARY KEY,
            email TEXT NOT NULL,
            email_key TEXT NOT NULL UNIQUE,
            first_name TEXT NOT NULL,
            last_name TEXT NOT NULL,
            password_hash TEXT,
            is_admin INTEGER NOT NULL DEFAULT 0 CHECK (is_admin IN (0, 1)),
            is_active INTEGER NOT NULL DEFAULT 1 CHECK (is_active IN (0, 1)),
            delivered_seq INTEGER,
            created_at INTEGER NOT NULL
        )
        """,
        """
        CREATE TABLE guardians (
            id TEXT PRIMARY KEY,
            ward_id TEXT NOT NULL REFERENCES users (id),
            guardian_id TEXT NOT NULL REFERENCES users (id),
            status TEXT NOT NULL CHECK (status IN ('pending', 'accepted', 'declined', 'revoked')),
            created_at INTEGER NOT NULL,
            updated_at INTEGER NOT NULL,
            accepted_seq INTEGER,
            UNIQUE (ward_id, guardian_id),
            CHECK (ward_id <> guardian_id)
        )
        """,
        "CREATE INDEX guardians_by_guardian ON guardians (guardian_id, ward_id)",
        """
        CREATE TABLE sessions (
            start_seq INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            ward_id TEXT NOT NULL REFERENCES users (id),
            start_time INTEGER NOT NULL,
            metadata TEXT,
            last_location TEXT,
            end_seq INTEGER,
            end_time INTEGER,
            duration INTEGER,
            reason TEXT,
            ended_by TEXT,
            CHECK ((end_seq IS NULL) = (end_time IS NULL)),
            CHECK ((end_seq IS NULL) = (duration IS NULL)),
            CHECK ((end_seq IS NULL) = (reason IS NULL))
        )
        """,
        "CREATE INDEX active_sessions ON sessions (start_seq) WHERE end_seq IS NULL",
        "CREATE INDEX sessions_by_time ON sessions (start_time)",
        "CREATE INDEX sessions_by_ward ON sessions (ward_id, start_time)",
        "CREATE INDEX sessions_by_ward_and_end ON sessions (ward_id, end_seq) WHERE end_seq IS NOT NULL",
        "CREATE TABLE sequence (id INTEGER PRIMARY KEY CHECK (id = 1), value INTEGER NOT NULL)",
        "INSERT INTO sequence (id, value) VALUES (1, 0)",
        """
        CREATE TABLE logins (
            id TEXT PRIMARY KEY,
            user_id TEXT NOT NULL REFERENCES users (id),
            created_at INTEGER NOT NULL,
            last_used_at INTEGER NOT NULL,
            expires_at INTEGER NOT NULL,
            user_agent TEXT NOT NULL
        ) WITHOUT ROWID
        """,
        "CREATE INDEX logins_by_user ON logins (user_id)",
        """
        CREATE TABLE one_time_links (
            id TEXT PRIMARY KEY,
            purpose TEXT NOT NULL,
            user_id TEXT REFERENCES users (id),
            data TEXT,
            created_at INTEGER NOT NULL,
            expires_at INTEGER NOT NULL,
            used_at INTEGER
        ) WITHOUT ROWID
        """,
    ),
    (
        """
        CREATE TABLE trail_points (
            session_id TEXT NOT NULL,
            moment INTEGER NOT NULL,
            latitude REAL NOT NULL,
            longitude REAL NOT NULL,
            accuracy REAL,
            altitude REAL,
            heading REAL,
            speed REAL,
            battery REAL,
            PRIMARY KEY (session_id, moment)
        ) WITHOUT ROWID
        """,
        "CREATE INDEX located_sessions ON sessions (end_time) WHERE last_location IS NOT NULL",
        """
        CREATE TABLE session_entries (
            id INTEGER PRIMARY KEY,
            session_id TEXT NOT NULL,
            moment INTEGER NOT NULL,
            kind TEXT NOT NULL,
            person_id TEXT,
            name TEXT,
            data TEXT
        )
        """,
        "CREATE INDEX entries_by_session ON session_entries (session_id, id)",
        """
        CREATE TABLE preferences (
            user_id TEXT PRIMARY KEY REFERENCES users (id),
            language TEXT NOT NULL,
            time_zone TEXT NOT NULL,
            hours TEXT NOT NULL
        ) WITHOUT ROWID
        """,
    ),
    (
        "CREATE INDEX sessions_by_end ON sessions (end_seq) WHERE end_seq IS NOT NULL",
        "CREATE INDEX worrying_sessions ON sessions (end_time) WHERE reason IN ('ward_disconnected', 'expired')",
    ),
    ("ALTER TABLE one_time_links RENAME COLUMN data TO made_by",),
)


def migrate(db: sqlite3.Connection, path: Path, migrations: tuple[tuple[str, ...], ...] = MIGRATIONS) -> None:
    """Bring the file to the newest shape. Raises :class:`ConfigurationError` where :func:`check_origin` does."""
    check_origin(db, path, migrations)
    while (version := _pragma(db, "user_version")) < len(migrations):
        db.execute("BEGIN IMMEDIATE")
        try:
            # Another process may have been quicker.
            if _pragma(db, "user_version") == version:
                for statement in migrations[version]:
                    db.execute(statement)
                db.execute(f"PRAGMA application_id = {APPLICATION_ID:d}")
                db.execute(f"PRAGMA user_version = {version + 1:d}")
            db.execute("COMMIT")
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")


def is_older(db: sqlite3.Connection) -> bool:
    """Whether an older program has filled the file, whose server may run on it."""
    return 0 < _pragma(db, "user_version") < len(MIGRATIONS)


def check_origin(db: sqlite3.Connection, path: Path, migrations: tuple[tuple[str, ...], ...] = MIGRATIONS) -> None:
    """Raises :class:`ConfigurationError` for a file from a newer program, and for one from another one altogether."""
    (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if tables and _pragma(db, "application_id") != APPLICATION_ID:
        raise ConfigurationError(f"The file {path} is the database of another program")
    if _pragma(db, "user_version") > len(migrations):
        raise ConfigurationError(f"The database {path} was written by a newer liveguard; update this one")


def _pragma(db: sqlite3.Connection, name: str) -> int:
    return int(db.execute(f"PRAGMA {name}").fetchone()[0])
