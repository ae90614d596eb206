"""`python -m ssn_lib`."""

import signal
import sys

from ssn_lib.cli import main

# A scheduler's request to end is one, like Ctrl-C: what is half done is tidied up.
signal.signal(signal.SIGTERM, signal.default_int_handler)
sys.exit(main())
