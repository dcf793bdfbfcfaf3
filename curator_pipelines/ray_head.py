"""A Ray of this machine's own, in a child process: it ends with the process that started it, however that ends."""

from __future__ import annotations

import logging
import shutil
import sys

ATTEMPTS = 3  # Ray gives some of its processes 15 seconds to start, which a busy machine exceeds


def main(cpus: int, folder: str) -> None:
    """Starts Ray with `cpus` CPUs (0: all), prints its address, stops it when standard input closes.

    Its files are in `folder`, which goes with it.
    """
    try:
        print(_start(cpus, folder), flush=True)
        sys.stdin.read()
    finally:
        import ray

        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def _start(cpus: int, folder: str) -> str:
    import ray

    for attempt in range(1, ATTEMPTS + 1):
        try:
            context = ray.init(
                address="local",
                num_cpus=cpus or None,
                include_dashboard=False,
                logging_level=logging.ERROR,
                log_to_driver=False,
                _temp_dir=folder,
            )
        except Exception as error:  # Ray raises bare ones here
            ray.shutdown()
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            if attempt == ATTEMPTS:
                sys.exit(reason)
        else:
            return context.address_info["gcs_address"]
    raise AssertionError


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
