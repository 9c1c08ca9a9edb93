"""`python -m sparsight`, the same as `sparsight`."""

import sys

from .cli import main

sys.exit(main())
