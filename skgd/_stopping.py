"""When to stop: the plateau rule, which can be paused and resumed."""

import numpy as np


class Plateau:
    """Tells which targets have not fallen by more than `tolerance` below their best for `patience` epochs in a row."""

    def __init__(self, tolerance, patience, best=None, waited=None):
        self.tolerance = np.asarray(tolerance, dtype=np.float64)
        self.patience = patience
        self.best = np.full(self.tolerance.shape, np.inf) if best is None else np.array(best)
        self.waited = np.zeros(self.tolerance.shape, dtype=np.int64) if waited is None else np.array(waited)

    @property
    def stalled(self):
        return self.waited >= self.patience

    def observe(self, value):
        """Take note of an epoch that saw `value`, one for each target."""
        self.waited += 1
        self.waited[value < self.best - self.tolerance] = 0
        np.minimum(self.best, value, out=self.best)


class Best:
    """The parameters that scored best so far, of each target."""

    def __init__(self, parameters, score=None):
        self.parameters = np.array(parameters)
        self.score = np.full(len(parameters), -np.inf) if score is None else np.array(score)

    def observe(self, parameters, score):
        """Take note of the parameters where they score better than all before."""
        better = score > self.score
        self.parameters[better], self.score[better] = parameters[better], score[better]
