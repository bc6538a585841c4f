"""`python -m flowweaver` is the same as `flowweaver`."""

import sys

from flowweaver.cli import main

if __name__ == "__main__":
    sys.exit(main())
