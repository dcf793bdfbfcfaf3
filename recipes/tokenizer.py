"""`glide tokenizer`: train a tokenizer. `python recipes/tokenizer.py --help` lists its options."""

import sys

from glide_nemo.cli import main

if __name__ == "__main__":
    sys.exit(main(["tokenizer", *sys.argv[1:]]))
