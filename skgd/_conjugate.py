"""Conjugate gradients: the full batch of the squared error where there are too many columns for their products.

With H the curvature and D the scales of the parameters, as the metric has them (Hestenes & Stiefel 1952)::

    w <- w + a p        a = -(g.p) / (p.H p)        p <- -D g + (g.D g / g_before.D g_before) p

H p is the gradient at p if all targets are zero, so that a step reads the rows once, as a step of any full batch does.
Each step gains a^2 (p.H p) / 2. What is left to gain is judged by the last few gains: as if they went on for some dozen steps,
or for as many as have been made, since what has fallen slowly for long will go on for long.
"""

import numpy as np

from skgd._descent import FullBatch
from skgd._objective import SQUARED_ERROR
from skgd._reading import look_at
from skgd._reference import AVERAGE, COEF

LAST = 5  # steps whose gains say what all further ones will gain
MARGIN = 0.1  # of the tolerance: what is left is an estimate
TAIL = 10.0  # at most: at least this many times as much


class ConjugateGradients(FullBatch):
    """Each epoch is a step along a direction that is conjugate to those before, for each target.

    Parameters
    ----------
    targets : list of Target
        Of the same rows.
    starts : ndarray of shape (n_targets, n_features + 1)
    tol : float
        A target has arrived if no more than a tenth of this share of the excess of the best constant prediction is left.
    memory : dict, optional
        What a descent that has paused here has left.
    """

    def __init__(self, targets, starts, tol, memory=None):
        self.targets, self.accuracy, self.point = targets, MARGIN * tol, starts.copy()
        self.scale = np.array([target.geometry.metric[1] for target in targets])
        self.value, self.gradient = (np.array(part) for part in zip(*look_at(targets, self.point, SQUARED_ERROR), strict=True))
        self.direction, self.gains = -self.scale * self.gradient, np.full((len(targets), LAST), np.inf)
        self.n_steps = np.zeros(len(targets))
        known = None if memory is None else memory["gradient"]
        if known is not None and np.allclose(known, self.gradient, rtol=1e-6, atol=1e-9 * np.abs(known).max()):
            for name, part in memory.items():  # it was about these rows
                setattr(self, name, np.array(part))

    @property
    def left(self):
        """What is left to gain for each target, about."""
        return np.maximum(TAIL, self.n_steps / LAST) * self.gains.sum(axis=1)

    def excess(self):
        """The same as a share of the excess of the best constant prediction over the minimum."""
        of_targets = zip(self.targets, self.left, self.value, strict=True)
        return np.array([target.share_of_reach(left, value) for target, left, value in of_targets])

    @property
    def is_done(self):
        """Which targets have arrived."""
        return self.excess() <= self.accuracy

    @property
    def memory(self):
        """What a later fit goes on with."""
        return {name: getattr(self, name) for name in ("gradient", "direction", "gains", "n_steps")}

    def step(self):
        """Read the rows and move each target that has not arrived."""
        which = np.flatnonzero(~self.is_done)
        if not len(which):
            return
        gradient, direction, scale = self.gradient[which], self.direction[which], self.scale[which]
        targets = [self.targets[k] for k in which]
        bent = np.array([product for _, product in look_at(targets, direction, SQUARED_ERROR, without_targets=True)])
        slope, curvature = np.sum(gradient * direction, axis=1), np.sum(direction * bent, axis=1)
        length = np.divide(-slope, curvature, out=np.zeros_like(slope), where=curvature > 0.0)
        before = np.sum(scale * gradient**2, axis=1)
        gradient += length[:, None] * bent
        ratio = np.divide(np.sum(scale * gradient**2, axis=1), before, out=np.zeros_like(before), where=before > 0.0)
        gained = -0.5 * length * slope
        self.gains[which] = np.column_stack([self.gains[which, 1:], gained])
        self.n_steps[which] += 1.0
        self.value[which] -= gained
        self.point[which] += length[:, None] * direction
        self.gradient[which] = gradient
        self.direction[which] = ratio[:, None] * direction - scale * gradient

    def make(self, epoch, parameters, history):
        """Make a step; the objectives before it."""
        objective = self.value.copy()
        self.step()
        parameters[:, [COEF, AVERAGE]] = self.point[:, None]
        history.note_step(objective, parameters)
        return objective

    def end(self, parameters):
        """Where the descent has ended."""
        return self.point.copy()
