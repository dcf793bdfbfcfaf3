"""`glide export`: export a checkpoint. `python recipes/export.py --help` lists its options."""

import sys

from glide_nemo.cli import main

if __name__ == "__main__":
    sys.exit(main(["export", *sys.argv[1:]]))
