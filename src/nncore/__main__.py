"""python -m nncore: the command."""

import sys

from nncore.cli import main

sys.exit(main())
