"""`glide dpo`: train a checkpoint on preference pairs. `python recipes/dpo.py --help` lists its options."""

import sys

from glide_nemo.cli import main

if __name__ == "__main__":
    sys.exit(main(["dpo", *sys.argv[1:]]))
