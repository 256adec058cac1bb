"""``python -m liveguard`` is ``liveguard``."""

import sys

from liveguard.cli import main

if __name__ == "__main__":
    sys.exit(main())
