"""python -m nncore: the command."""

import sys

from nncore.cli.main import main

sys.exit(main())
