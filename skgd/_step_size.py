"""Schedules of step sizes and averaging weights, as functions of the step number t = 1, 2, ..."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from skgd._objective import HALVED, SQUARED_ERROR
from skgd._reference import STEP
from skgd._stopping import Plateau

AVERAGING_POWER = 3  # average="auto" weighs step t by about t^3: the average forgets where the descent began
FEW_STEPS = 20  # "auto" judges progress over at least so many steps, of several short epochs; half or double: excess + 1e-4
DECAY = 1 / 3  # factor of the step of "auto" after an epoch without progress; half or double: excess of up to 2e-4, not 5e-5

# eta(t) of each schedule; `t0`, as SGDRegressor has it, says where "optimal" begins.
SCHEDULES = {
    "constant": lambda t, eta0, **_: eta0,
    "invscaling": lambda t, eta0, power_t, **_: eta0 / t**power_t,
    "optimal": lambda t, alpha, t0, **_: 1.0 / (alpha * (t0 + t - 1.0)),
    "adaptive": lambda t, eta0, **_: eta0,
}


def falling(t, eta0, constant_for, until):
    """eta0 / sqrt(1 + t / constant_for), constant after step `until`: for streams of a loss that grows linearly.

    With constant steps the average is biased for such a loss. Steps start to fall after as many rows as there are columns: on
    20,000 x 510, a tenth or ten times as many double the suboptimality.
    """
    return eta0 / np.sqrt(1.0 + np.minimum(t, until) / constant_for)


def eta_of_auto(model, problem):
    """eta(t) of "auto", as a share of the safe step: constant, but falling in a stream whose loss grows linearly."""
    eta0, b = 1.0 - model.momentum, problem.batch_size
    if not problem.is_stream or not problem.loss.grows_linearly:
        return partial(SCHEDULES["constant"], eta0=eta0)
    return partial(falling, eta0=eta0, constant_for=problem.rows.n_features / b, until=(model.half_life or np.inf) / b)


@dataclass
class Schedule:
    """The step sizes and averaging weights of one call. `factor` keeps the cuts by plateaus for a later call."""

    eta: Callable  # (t): step size of the step numbers t, counted from 1
    average: str | int  # which average to keep: see `averaging_weights`; 0 keeps none
    scale: np.ndarray  # (n_targets,): the safe step under "auto", 1 under a plain schedule
    factor: np.ndarray  # (n_targets,): by which plateaus have cut the step
    momentum: float = 0.0
    lookahead: float = 0.0  # the momentum, if it is Nesterov's
    cap: float = np.inf  # no step is longer than cap * f / g'Dg
    ceiling: np.ndarray | None = None  # (n_targets,): an upper limit of f in this bound
    last_share: float = 1.0  # factor of the step of a short last batch, in proportion to its rows, so that each counts alike
    forgets: float = 0.0  # the least averaging weight of a step, so that older steps fade with the half-life
    every: int = 1  # only every `every`-th step updates the average, with the weight of all since the last update
    decay: float = 1.0  # the factor by which a plateau multiplies the step
    patience: float = np.inf  # the epochs without progress that count as a plateau
    smallest: float = 0.0  # the step is not decreased once it is at or below this
    is_plain: bool = True  # whether this is a plain schedule, whose steps nothing bounds

    @classmethod
    def of(cls, model, problem, state):
        """The steps of a call of fit or partial_fit."""
        factor = np.broadcast_to(1.0 if problem.is_stream else state.factor, len(problem.unit))
        lookahead = model.momentum if model.nesterovs_momentum else 0.0
        common = {"factor": factor, "momentum": model.momentum, "lookahead": lookahead}
        make = cls.of_auto if model.learning_rate == "auto" else cls.of_plain
        return make(model, problem, state, common)

    @classmethod
    def of_auto(cls, model, problem, state, common):
        """The schedule of "auto": the safe step found from the rows, cut after each plateau, with averaging."""
        b, shortened, half_life = problem.batch_size, shortens(problem), model.half_life or np.inf
        return cls(
            eta_of_auto(model, problem),
            model.average if shortened or model.average != "auto" else 0,
            np.array([geometry.step for geometry in problem.geometries]) / problem.curvature,
            **common,
            cap=cap_of(problem),
            ceiling=state.stream.ceiling() if problem.is_stream else None,
            last_share=1.0 - (-len(problem.rows) % b) / b,
            forgets=1.0 - 0.5 ** (b / half_life) if problem.is_stream else 0.0,
            every=problem.averaging_interval() if model.average == "auto" else 1,
            decay=DECAY ** (1.0 / epochs_of_a_plateau(problem)) if shortened else 1.0,
            patience=1,
            is_plain=False,
        )

    @classmethod
    def of_plain(cls, model, problem, state, common):
        """A plain schedule, as learning_rate names it."""
        # The first step of "optimal" is alpha^(-1/4) (Bottou) for SGDRegressor's loss and alpha. If these are half of ours, so
        # is our step.
        halves = 2.0 if model.loss in HALVED else 1.0
        t0 = (model.alpha / halves) ** -0.75 if model.learning_rate == "optimal" else 0.0
        eta = partial(SCHEDULES[model.learning_rate], eta0=model.eta0, power_t=model.power_t, alpha=model.alpha, t0=t0)
        schedule = cls(eta, 0 if model.average == "auto" else model.average, np.ones(len(problem.unit)), **common)
        if model.learning_rate == "adaptive":
            schedule.decay, schedule.smallest = 0.2, 1e-6  # as SGDRegressor's
            schedule.patience = patience_of(model, problem)
        return schedule

    def steps(self, t, which, began, ends):
        """The STEP entries of steps t for some targets, within a pass that makes steps began + 1 to ends."""
        eta = self.eta(t) * (self.scale * self.factor)[which, None]
        steps = np.zeros((len(eta), len(t)), STEP)
        steps["eta"], steps["cap"] = eta, self.cap
        steps["ceiling"] = np.inf if self.ceiling is None else self.ceiling[which, None]
        steps["momentum"], steps["lookahead"] = self.momentum, self.lookahead
        if self.last_share < 1.0 and t[-1] == ends:
            steps["eta"][:, -1] *= self.last_share
        if self.average:
            gathered = self.every > 1
            weights = gathered_weights(t, self.every, began, ends) if gathered else averaging_weights(t, self.average)
            if self.forgets:  # an update forgets as much as the steps that it stands for
                floor = 1.0 - (1.0 - self.forgets) ** self.every
                weights = np.where(weights > 0.0, np.maximum(weights, floor), 0.0)
            steps["averaging"] = weights
        return steps

    def length(self, t):
        """The step size of number t, of each target."""
        return self.eta(t) * self.scale * self.factor

    def moves_all_columns(self, penalty):
        """Whether a step on sparse rows costs all columns and not only those that the batch holds."""
        return bool(self.momentum or (penalty.l1 > 0.0 and self.average and self.every == 1))

    def shorten(self, plateau, is_done):
        """Shorten the steps of targets on a plateau, unless they are done or their steps are as short as allowed."""
        again = (plateau.waited >= self.patience) & ~is_done
        if not again.any():
            return
        if self.smallest > 0.0:  # "adaptive", which then starts counting again
            again &= self.length(1.0) > self.smallest
            plateau.restart(again)
        self.factor = np.where(again, self.factor * self.decay, self.factor)


def cap_of(problem):
    """The `Schedule.cap` of "auto": 2. A loss f >= 0 of curvature L has |g|^2 <= 2 L f, so steps eta <= 1 / L are never cut.

    In a fit of the squared error on single rows, none is needed: 1 / L(1) never overshoots a row. For larger batches L(b) is
    only an expectation, and a stream may bring a row far longer than L allows for.
    """
    return np.inf if not problem.is_stream and problem.batch_size == 1 and problem.loss == SQUARED_ERROR else 2.0


def shortens(problem):
    """Whether "auto" shortens and averages steps: always, except in a fit of the squared error on the full batch."""
    return problem.is_stream or not problem.is_full_batch or problem.loss != SQUARED_ERROR


def epochs_of_a_plateau(problem):
    """How many epochs make FEW_STEPS steps, but at least 1."""
    return max(1.0, FEW_STEPS * problem.batch_size / len(problem.rows))


def patience_of(model, problem):
    """Epochs without progress before a descent ends."""
    if problem.is_stream or model.tol is None:
        return np.inf
    carried = problem.batch_size / len(problem.rows) / (1.0 - model.momentum)  # epochs that momentum may lead uphill
    shortened = model.learning_rate == "auto" and shortens(problem)
    return model.n_iter_no_change * max(1.0, carried, epochs_of_a_plateau(problem) if shortened else 1.0)


def plateau_of(model, problem, state):
    """The plateau rule of a call."""
    return Plateau(problem.unit * (model.tol or 0.0), patience_of(model, problem), **state.plateau)


def averaging_weights(t, average):
    """The weight of step t as it enters the average.

    "auto": (k+1) / (t+k) with k = AVERAGING_POWER, polynomial-decay averaging (Shamir & Zhang 2013). A number a: the mean of
    the steps from a on, and before that the last step.
    """
    if average == "auto":
        return (AVERAGING_POWER + 1.0) / (t + AVERAGING_POWER)
    weights = 1.0 / np.maximum(1.0, t - average + 1.0)
    weights[:-1][weights[1:] == 1.0] = 0.0  # no update that the next step overwrites
    return weights


def gathered_weights(t, every, began, ends):
    """Weights of "auto" for an average that is updated only at every `every`-th step and at the last of a pass.

    An update at t stands for all steps since the update at a. 1 - (k+1)/(s+k) is (s-1)/(s+k). In the product of these over s
    from a + 1 to t, all but k + 1 factors at either end cancel: it is P(a) / P(t) with P(t) = t (t+1) ... (t+k).
    """
    noted = (t % every == 0) | (t == ends)
    before = np.maximum(np.floor((t - 1) / every) * every, began)
    shares = [(before + i) / (t + i) for i in range(AVERAGING_POWER + 1)]
    return np.where(noted, 1.0 - np.prod(shares, axis=0), 0.0)
