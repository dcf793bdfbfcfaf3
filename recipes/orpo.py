"""`glide orpo`: train a checkpoint on preference pairs. `python recipes/orpo.py --help` lists its options."""

import sys

from glide_nemo.cli import main

if __name__ == "__main__":
    sys.exit(main(["orpo", *sys.argv[1:]]))
