"""`python -m glide_nemo` is `glide`, for where the command is not on the PATH."""

import sys

from glide_nemo.cli import main

sys.exit(main())
