# SPDX-License-Identifier: BSD-3-Clause
"""`python -m fastclip` is the command `fastclip`."""

import sys

from fastclip._cli import main

if __name__ == "__main__":
    sys.exit(main())
