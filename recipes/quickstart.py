"""`glide quickstart`: the whole road, crawl to report. `python recipes/quickstart.py --help` lists its options."""

import sys

from glide_nemo.cli import main

if __name__ == "__main__":
    sys.exit(main(["quickstart", *sys.argv[1:]]))
