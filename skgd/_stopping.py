"""When to stop: the plateau rule."""

import numpy as np


class Plateau:
    """Tells which targets have not fallen by more than `tolerance` below their best for `patience` epochs in a row."""

    def __init__(self, tolerance, patience):
        self.tolerance = np.asarray(tolerance, dtype=np.float64)
        self.patience = patience
        self.best = np.full(self.tolerance.shape, np.inf)
        self.waited = np.zeros(self.tolerance.shape, dtype=np.int64)

    @property
    def stalled(self):
        return self.waited >= self.patience

    def observe(self, value):
        """Take note of an epoch that saw `value`, one for each target."""
        self.waited += 1
        self.waited[value < self.best - self.tolerance] = 0
        np.minimum(self.best, value, out=self.best)
