"""`glide serve`: a model behind the API of OpenAI. `python recipes/serve.py --help` lists its options."""

import sys

from glide_nemo.cli import main

if __name__ == "__main__":
    sys.exit(main(["serve", *sys.argv[1:]]))
