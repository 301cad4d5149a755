"""When to stop: the plateau rule, and held-out rows that are predicted worse; both can be paused and resumed."""

from operator import add
from typing import NamedTuple

import numpy as np

from skgd._constant import best_constant, constant_loss, rounding_loss
from skgd._objective import SQUARED_ERROR, loss_and_slope
from skgd._reading import ROUNDING

CHANCE = 1.5  # standard errors up to which a difference may be due to chance
TIGHTER = 0.1  # factor on a tolerance after a refuted try; also what "far below" means
LEAST_PROMISE = 1e-6  # smallest suboptimality asked for, as a share of the reach: a smaller one changes no prediction visibly
POOR = 0.1  # an excess, or a D^2 this far below 0, that is warned of; the noise of a constant step on single rows is less


def promise_of(model, problem):
    """The largest excess over the minimum at a plateau, as a share of the excess of the best constant prediction.

    A plain schedule promises nothing, but is warned of if it leaves more than POOR.
    """
    if model.learning_rate != "auto":
        return POOR
    noise = 1.0 if problem.is_full_batch else 10.0
    return max(noise * (model.tol or 0.0), LEAST_PROMISE)


class Plateau:
    """Tells which targets have not fallen by more than `tolerance` below their best for `patience` epochs in a row."""

    def __init__(self, tolerance, patience, best=None, waited=None):
        self.tolerance = np.asarray(tolerance, dtype=np.float64)
        self.patience = patience
        self.best = np.full(self.tolerance.shape, np.inf) if best is None else np.array(best)
        self.waited = np.zeros(self.tolerance.shape, dtype=np.int64) if waited is None else np.array(waited)
        self.ended = np.zeros(self.tolerance.shape, dtype=bool)  # for another reason: a score that has become worse

    @property
    def state(self):
        """The lowest values so far and for how long they stand, from which a later fit goes on."""
        return {"best": self.best, "waited": self.waited}

    @property
    def stalled(self):
        return (self.waited >= self.patience) | self.ended

    def arrive(self, which):
        """Note that some targets are at their minimum, so that a later fit knows it, too."""
        self.waited[which] = np.ceil(self.patience)

    def restart(self, which):
        """Count the epochs without progress anew for some targets."""
        self.waited[which] = 0

    def observe(self, value):
        """Take note of an epoch that saw `value`, one for each target."""
        self.waited += 1
        self.waited[value < self.best - self.tolerance] = 0
        np.minimum(self.best, value, out=self.best)


class Validation:
    """Rows that are not learned from: D^2 on them, and whether parameters predict them worse than the best ones so far.

    D^2 = 1 - loss / (loss of the best constant on these rows), with the model's own loss. For the squared error it is R^2, for
    quantiles scikit-learn's d2_pinball_score.

    D^2 on some rows goes up and down by chance, and a few outlying rows may decide it. So parameters are called worse only if
    their D^2 is lower by more than `tol`, more rows are predicted worse than better, and the mean of the rows' differences is
    more than CHANCE standard errors from zero: of one row that outweighs all others, it never is. For a loss that grows
    linearly, a row counts by the slope of the loss on its side: for a quantile, few rows on one side balance many on the other.

    `tol` is a difference of D^2 that does not matter. `parameters` are the best so far; their intercept is the prediction at
    x = 0. `score` is their D^2, and `waited` the number of epochs in a row in which others have been worse.
    """

    def __init__(self, rows, loss, tol, parameters, score=None, waited=None):
        self.rows, self.loss, self.tol, self.best = rows, loss, tol, np.array(parameters)
        self.score = np.full(len(parameters), -np.inf) if score is None else np.array(score)
        self.waited = np.zeros(len(parameters), dtype=np.int64) if waited is None else np.array(waited)
        moments = rows.without_columns().moments(False)
        check_scores(moments.target_variance)
        self.weight, self.mean, constant = moments.weight, moments.target_mean, moments.target_mean
        if loss == SQUARED_ERROR:
            self.constant_loss = moments.target_variance
        else:
            constant = best_constant(loss, rows if rows.is_in_memory else rows.sampled)
            self.constant_loss = constant_loss(loss, rows, constant)
        self.rounding, self.constant_parameters = rounding_loss(loss, constant), np.zeros(self.best.shape)
        self.constant_parameters[:, -1] = constant

    @property
    def state(self):
        """The parameters that score best, their scores, and for how long others are worse: a later fit goes on from it."""
        return {"parameters": self.best, "score": self.score, "waited": self.waited}

    def compare(self, parameters):
        """D^2 of these parameters, and whether they are worse than the best."""
        score, is_worse, most_are = self.beside(self.best, parameters)
        return score, (score < self.score - self.tol) & is_worse & most_are

    def beside(self, others, parameters):
        """D^2 of these parameters, whether they are worse than others by more than chance, and whether most rows say so."""
        with np.errstate(over="ignore", invalid="ignore"):
            (sums,) = self.rows.add_up((Differences.over, self.loss, parameters, others))
        check_scores(sums)
        score, mean = explained(sums.loss / self.weight, self.constant_loss, self.rounding), sums.difference / self.weight
        # The error of sum_i s_i d_i: the root of sum_i s_i^2 (d_i - mean)^2.
        error = np.sqrt(np.maximum(sums.square - 2.0 * mean * sums.weighted + mean**2 * sums.weight_square, 0.0))
        return score, sums.difference > CHANCE * error, sums.majority > ROUNDING * self.weight

    def observe(self, parameters, is_done):
        """Take note of an epoch's parameters, but not of targets that were done before; D^2 of all."""
        score, worse = self.compare(parameters)
        self.waited = np.where(is_done, self.waited, np.where(worse, self.waited + 1, 0))
        better = (score > self.score) & ~is_done
        self.best[better], self.score[better], self.waited[better] = parameters[better], score[better], 0
        return score


def score_name(loss):
    """What D^2 is called for the loss of this name."""
    return "R^2" if loss == "squared_error" else "D^2"


def explained(loss, of_constant, rounding):
    """D^2 from the mean losses of predictions and of the best constant; 1 or 0 where all targets are alike up to rounding."""
    varies = of_constant > rounding
    return np.where(varies, 1.0 - loss / np.where(varies, of_constant, 1.0), np.where(loss > rounding, 0.0, 1.0))


def check_scores(squares):
    """Refuse rows whose D^2 float64 cannot hold."""
    if not all(np.isfinite(each).all() for each in squares):
        raise ValueError("X_val or y_val is too large: squared errors exceed the range of float64. Check their units.")


class Differences(NamedTuple):
    """Sums over rows: l is the loss of some parameters, d by how much it exceeds that of others, s a weight."""

    loss: np.ndarray  # of s l
    majority: np.ndarray  # of s c sign(d), where c is the largest slope of the loss on the residual's side, or 1 if it has none
    difference: np.ndarray  # of s d
    weighted: np.ndarray  # of s^2 d
    square: np.ndarray  # of s^2 d^2
    weight_square: float  # of s^2

    @classmethod
    def over(cls, rows, loss, parameters, others):
        weight, residual = rows.weights, rows.residuals(parameters)
        value = loss_and_slope(loss, residual)[0]
        difference = value - loss_and_slope(loss, rows.residuals(others))[0]
        votes = np.sign(difference)
        if loss.grows_linearly:
            votes *= loss.cap(residual) / max(loss.cap_above, loss.cap_below)
        squares = difference @ weight**2, difference**2 @ weight**2, weight @ weight
        return cls(value @ weight, votes @ weight, difference @ weight, *squares)

    def __add__(self, other):
        return Differences(*map(add, self, other))
