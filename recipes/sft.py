"""`glide sft`: fine-tune on conversations. `python recipes/sft.py --help` lists its options."""

import sys

from glide_nemo.cli import main

if __name__ == "__main__":
    sys.exit(main(["sft", *sys.argv[1:]]))
