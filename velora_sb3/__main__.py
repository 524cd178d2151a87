"""``python -m velora_sb3``: the same as ``velora-sb3``."""

import sys

from velora_sb3.cli import main

if __name__ == "__main__":
    sys.exit(main())
