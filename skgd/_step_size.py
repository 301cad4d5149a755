"""How far each step goes and how much of it enters the average: schedules as functions of t, the number of the step from 1."""

import numpy as np

from skgd._reference import STEP

FORGET = 3  # averaging="auto" weighs step t by about t^3: the average forgets where the descent began
SMALLEST_ETA = 1e-6  # "adaptive" divides the step down to here
FEW_STEPS = 20  # an epoch of fewer steps tells less: "auto" waits for as many before it speaks of an epoch without progress
DECAY = 1 / 3  # of "auto"'s step after an epoch without progress
SAFE_CAP = 2.0  # eta |g|^2 <= 2 f holds wherever eta is within the batch's own curvature: it binds on no ordinary step

# eta(t) of each schedule; `offset` places the beginning of "optimal".
SCHEDULES = {
    "constant": lambda t, eta0, **_: eta0,
    "adaptive": lambda t, eta0, **_: eta0,
    "invscaling": lambda t, eta0, power_t, **_: eta0 / t**power_t,
    "optimal": lambda t, alpha, offset, **_: 1.0 / (alpha * (offset + t - 1.0)),
}


def optimal_offset(alpha):
    """Where "optimal" begins: its first step is alpha^(-1/4), with alpha in SGDRegressor's convention (Bottou's heuristic)."""
    return alpha**-0.75


class Schedule:
    """The steps of one call.

    Parameters
    ----------
    eta : callable(t) -> float or ndarray
        Step size of the step numbers t, counted from 1.
    average : "auto" or int
        Which average to keep: see `averaging_weights`; 0 keeps none.
    scale, factor : ndarrays of shape (n_targets,)
        By which each target's step is multiplied: for good, and what plateaus have made of it.
    cap : float
        No step is longer than cap * f / |g|^2.
    ceiling : ndarray of shape (n_targets,)
        The largest f to count in that: rows of a larger loss move the parameters the less the larger it is.
    decay : float
        By which a step is multiplied after an epoch without progress: the noise it leaves shrinks with it.
    adaptive : bool
        Whether a plateau divides the step by five, down to SMALLEST_ETA, before it ends the descent.
    momentum : float
    nesterov : bool
    last_share : float
        By which the last step of a pass is multiplied: a short batch pulls its rows no harder than others are pulled.
    every : int
        Only each `every`-th step enters the average, for itself and those before it.
    """

    def __init__(
        self,
        eta,
        average,
        scale,
        factor,
        cap=np.inf,
        ceiling=None,
        decay=1.0,
        adaptive=False,
        momentum=0.0,
        nesterov=False,
        last_share=1.0,
        every=1,
    ):
        self.eta = eta
        self.average = average
        self.scale = scale
        self.factor = factor
        self.ceiling = np.full(len(factor), np.inf) if ceiling is None else ceiling
        self.decay = decay
        self.adaptive = adaptive
        self.last_share = last_share
        self.every = every
        common = {"cap": cap, "momentum": momentum, "lookahead": momentum if nesterov else 0.0}
        self.common = {name: value for name, value in common.items() if value != 0.0}

    def steps(self, t, target, began, ends):
        """The STEPs of numbers t, out of a pass that makes those from began + 1 to ends."""
        steps = np.zeros(len(t), STEP)
        for name, value in self.common.items():
            steps[name] = value
        steps["ceiling"] = self.ceiling[target]
        steps["eta"] = self.eta(t) * self.scale[target] * self.factor[target]
        if self.last_share < 1.0 and t[-1] == ends:
            steps["eta"][-1] *= self.last_share
        if self.average:
            gathered = self.every > 1
            steps["averaging"] = (
                gathered_weights(t, self.every, began, ends) if gathered else averaging_weights(t, self.average)
            )
        return steps

    def length(self, t):
        """The step size of number t, of each target."""
        return self.eta(t) * self.scale * self.factor

    def moves_all_columns(self, penalty):
        """Whether a step on sparse rows costs all columns and not only those that the batch holds."""
        return "momentum" in self.common or bool(penalty.l1 and self.average and self.every == 1)

    def finished(self, plateau):
        """Whether all targets are done, after a shorter step has been tried where there is one to try."""
        stalled = plateau.stalled
        if self.adaptive:
            again = stalled & (self.length(1.0) > SMALLEST_ETA)
            self.factor = np.where(again, self.factor / 5.0, self.factor)
            plateau.waited[again] = 0
            stalled = stalled & ~again
        elif self.decay < 1.0:
            self.factor = np.where(plateau.waited > 0, self.factor * self.decay, self.factor)
        return stalled.all()


def averaging_weights(t, average):
    """How far the average moves towards the parameters at step t.

    "auto": polynomial decay (k+1)/(t+k), Shamir & Zhang 2013; a number a: the mean of the steps
    from a on (before it, the last).
    """
    if average == "auto":
        return (FORGET + 1.0) / (t + FORGET)
    weights = 1.0 / np.maximum(1.0, t - average + 1.0)
    weights[:-1][weights[1:] == 1.0] = 0.0  # what the next step replaces need not be taken
    return weights


def gathered_weights(t, every, began, ends):
    """Weights of "auto" for an average that takes note of each `every`-th step and the last of a pass, for those since.

    The product of 1 - (k+1)/(s+k) over s from a + 1 to t is P(a) / P(t) with P(t) = t (t+1) ... (t+k).
    """
    noted = (t % every == 0) | (t == ends)
    before = np.maximum(np.floor((t - 1) / every) * every, began)
    shares = [(before + i) / (t + i) for i in range(FORGET + 1)]
    return np.where(noted, 1.0 - np.prod(shares, axis=0), 0.0)
