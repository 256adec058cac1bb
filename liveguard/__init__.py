"""Live sessions: a ward starts one, the ward's guardians see it at once and until it ends."""

__version__ = "0.1.0"
