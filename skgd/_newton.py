"""The damped Newton method for one target and any loss.

A reading of all rows gives a quadratic model of the objective (see _quadratic.py), whose minimum is where to read next. If that
lowers the objective by G, the damping becomes the one that would have foreseen G (as in Levenberg 1944, Marquardt 1963). For a
step d, the model of damping c foresees m(c) = m(0) - c d'(M - H)d / 2, which is linear in c. So m(c) = G, with m(damping)
known, gives::

    c = damping (m(0) - G) / (m(0) - m(damping))

A step that raises the objective is rejected, and solved again from the same model with more damping.

Kinks of the loss are smoothed over a width h, so that F_h >= F (see _objective.py). They become half as wide each time that the
smoothed minimum is reached: when smoothing adds more to the objective than a step would gain. The suboptimality is estimated
as what an undamped step would gain, the Newton decrement, plus what smoothing adds. That is Nesterov's bound ::

    F(w) - min F  <=  (F_h(w) - min F_h) + (F_h - F at the minimum of F)

with F_h - F taken at w, since it changes little near the minimum. _damped_newton.py turns the estimate into a proof.
"""

import numpy as np

from skgd._objective import penalty_at
from skgd._quadratic import MOST_STEPS, Model
from skgd._reading import ROUNDING
from skgd._stopping import TIGHTER

HALVING = 2.0  # at most in a step, damping and kinks fall by it; at least, a rejection raises damping; 4: 5-18 % slower


class Newton:
    """The iteration for one target: readings of all rows in turn with steps of the quadratic model.

    The promise is the suboptimality at which to stop, as a share of the reach. What changes, and when:

    - at each reading: `damping`; `trial`, where to read next; `best` and `best_value`, the lowest exact objective so far
    - at each point that is accepted: `model`, its `undamped` step, the estimate `left`, and perhaps a narrower `loss`
    - at each refuted estimate: `n_refuted`, which makes `accuracy` tighter
    """

    def __init__(self, target, start, promise, loss):
        self.target, self.promise = target, promise
        self.trial, self.loss = start, loss  # where to read next, and the smoothed loss to read
        self.model = self.undamped = self.damped = None  # of the last accepted point; its undamped and damped steps
        self.damping = 1.0 / HALVING
        self.best, self.best_value = start, np.inf
        self.left, self.n_read, self.n_refuted = np.inf, 0, 0
        self.seems_done = False  # by the estimate, or since no step can gain more than rounding errors

    @classmethod
    def far(cls, target, start, promise):
        """An iteration from a start that may be far from the minimum: kinks are smoothed widely."""
        return cls(target, start, promise, target.smoothed_at(start))

    @property
    def accuracy(self):
        """What the estimate must come to, as a share of the reach: the promise, and a tenth of it after each refutation."""
        return self.promise * TIGHTER**self.n_refuted

    def request(self):
        """The next reading: a function to sum over all rows, and its arguments."""
        losses = self.loss, self.target.loss, self.model.loss if self.model else self.loss
        return self.target.derivatives, self.target.at(self.trial), self.target.scaling, losses

    def read(self):
        """Make one reading of all rows and `learn` from it."""
        (sums,) = self.target.rows.add_up(self.request())
        return self.learn(sums)

    def learn(self, sums):
        """Accept or reject the point read, by its sums, and choose the next one; returns the exact objective there."""
        target, noise, self.n_read = self.target, ROUNDING * self.target.unit, self.n_read + 1
        values, *derivatives = target.completed(sums, self.trial) / target.total_weight
        value, exact, value_in_model = values + penalty_at(target.penalty, self.trial[:-1])  # by the losses of `request`
        if exact < self.best_value:  # which may fall where the smoothed objective rises
            self.best, self.best_value = self.trial, exact
        gained = self.model.value - value_in_model if self.model else np.inf
        is_rejected = not gained >= -noise  # as NaN is
        self.seems_done = is_rejected and self.damping == 1.0  # a fully damped step can only fail by rounding errors
        if self.model:
            self.damping = self.damping_after(gained, is_rejected, noise)
        if not is_rejected:
            self.model = Model(target, self.trial, self.loss, value, *derivatives)
            self.undamped = self.model.step(0.0)
            self.estimate(value - exact, noise)
        self.choose_step()
        return exact

    def damping_after(self, gained, is_rejected, noise):
        """The damping that would have foreseen the gain of the last step, within bounds."""
        step, damping = self.damped, self.damping
        lowest = min(1.0, damping * HALVING) if is_rejected else damping / HALVING
        foreseen = damping * (step.gain - gained) / max(step.gain - step.damped_gain, noise)
        return 1.0 if np.isnan(foreseen) else float(np.clip(foreseen, lowest, 1.0))

    def estimate(self, smoothing, noise):
        """Estimate what is left at an accepted point, whose objective `smoothing` raises; narrow kinks at their minimum."""
        target, decrement = self.target, self.undamped.gain
        self.left = min(smoothing + decrement, self.best_value)  # no objective is negative
        self.seems_done = self.left <= max(self.accuracy * target.reach(self.best_value), noise)
        if decrement <= TIGHTER ** (2 * self.n_refuted) * smoothing:  # after each refutation, 100 times as accurately
            self.loss = target.loss.smoothed(max(self.loss.width / HALVING, target.narrowest))

    def choose_step(self):
        """Read next where the damped step ends. A quadratic loss is its own majoriser, so that damping changes nothing."""
        self.damped = self.model.step(self.damping) if self.model.extra.any() else self.undamped
        self.trial = self.damped.end

    def settle(self):
        """Iterate until the estimate is small enough, without a proof; returns the last accepted point."""
        for _ in range(MOST_STEPS):
            if self.seems_done:
                break
            self.read()
        return self.model.point
