"""A Ray of this machine's own, in a child process: it ends with the process that started it, however that ends."""

from __future__ import annotations

import logging
import sys

ATTEMPTS = 3  # Ray gives its own start 30 seconds, which a busy machine exceeds


def main(cpus: int) -> None:
    """Starts Ray with `cpus` CPUs (0: all), prints its address, and stops it when standard input closes."""
    import ray

    for attempt in range(1, ATTEMPTS + 1):
        try:
            context = ray.init(
                address="local",
                num_cpus=cpus or None,
                include_dashboard=False,
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
            break
        except Exception as error:  # Ray raises bare ones here
            ray.shutdown()
            if attempt == ATTEMPTS:
                sys.exit((str(error).strip().splitlines() or [type(error).__name__])[0])
    print(context.address_info["gcs_address"], flush=True)
    sys.stdin.read()
    ray.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]))
