"""The order of training examples: epochs of all of them, each in an order of its own, and endless held-out rounds."""

from __future__ import annotations

import numpy

ENDLESS = 1 << 40  # samples: evaluations go on as long as training does


class ShuffledEpochs:
    """Which of `count` examples the n-th of a training is: the same in every run, resumed or not."""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed = count, seed
        self._epoch, self._order = -1, numpy.empty(0, "int64")

    def __getitem__(self, number: int) -> int:
        epoch, at = divmod(number, self.count)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, numpy.random.default_rng((self.seed, epoch)).permutation(self.count)
        return int(self._order[at])
