"""`python -m ssn_lib`."""

import sys

from ssn_lib.cli import main

sys.exit(main())
