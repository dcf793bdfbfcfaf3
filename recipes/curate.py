"""`glide curate`: WARC files to a clean corpus. `python recipes/curate.py --help` lists its options."""

import sys

from glide_nemo.cli import main

if __name__ == "__main__":
    sys.exit(main(["curate", *sys.argv[1:]]))
