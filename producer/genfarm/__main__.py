"""`python -m genfarm` is `genfarm`."""

import sys

from genfarm.cli import main

if __name__ == "__main__":
    sys.exit(main())
