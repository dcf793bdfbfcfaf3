"""Imported once by the process that Megatron's workers are forked from: they then start in well under a second."""

import os

from glide_nemo.cpu.imports import import_megatron

with open(os.devnull, "w") as nowhere:  # the imports warn of everything a CPU lacks; `glide doctor` says it once
    kept = os.dup(1), os.dup(2)
    os.dup2(nowhere.fileno(), 1)
    os.dup2(nowhere.fileno(), 2)
    try:
        import_megatron()
    finally:
        for number, descriptor in enumerate(kept, start=1):
            os.dup2(descriptor, number)
            os.close(descriptor)
