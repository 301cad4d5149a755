"""When to stop: the plateau rule, which can be paused and resumed."""

import numpy as np

CHANCE = 1.5  # standard errors up to which a difference may be due to chance


class Plateau:
    """Tells which targets have not fallen by more than `tolerance` below their best for `patience` epochs in a row."""

    def __init__(self, tolerance, patience, best=None, waited=None):
        self.tolerance = np.asarray(tolerance, dtype=np.float64)
        self.patience = patience
        self.best = np.full(self.tolerance.shape, np.inf) if best is None else np.array(best)
        self.waited = np.zeros(self.tolerance.shape, dtype=np.int64) if waited is None else np.array(waited)
        self.ended = np.zeros(self.tolerance.shape, dtype=bool)  # for another reason: a score that has become worse

    @property
    def stalled(self):
        return (self.waited >= self.patience) | self.ended

    def observe(self, value):
        """Take note of an epoch that saw `value`, one for each target."""
        self.waited += 1
        self.waited[value < self.best - self.tolerance] = 0
        np.minimum(self.best, value, out=self.best)


class Validation:
    """Rows that are not learned from: R^2 on them, and whether parameters predict them worse than the best ones so far.

    R^2 on some rows goes up and down by chance, and a few outlying rows may decide it. So parameters are called worse only if
    their R^2 is lower by more than `tol`, more rows are predicted worse than better, and the mean of the rows' differences is
    CHANCE standard errors from zero. A single row that outweighs all others makes it one.

    Parameters
    ----------
    rows : Rows, or others that add up functions of rows
    tol : float
        A difference of R^2 that does not matter.
    parameters : ndarray of shape (n_targets, n_features + 1)
        The best so far; the intercept is taken at zero.
    score, waited : ndarray of shape (n_targets,), optional
        The R^2 of the best, and for how many epochs in a row others have been worse.
    """

    def __init__(self, rows, tol, parameters, score=None, waited=None):
        self.rows, self.tol, self.best = rows, tol, np.array(parameters)
        self.score = np.full(len(parameters), -np.inf) if score is None else np.array(score)
        self.waited = np.zeros(len(parameters), dtype=np.int64) if waited is None else np.array(waited)
        (moments,) = rows.add_up((moments_of_targets,))
        self.weight, self.variance = moments.weight, moments.target_variance
        self.check_range(self.variance)

    @property
    def state(self):
        """What a later fit goes on from."""
        return self.best, self.score, self.waited

    def check_range(self, squares):
        """Refuse rows whose R^2 float64 cannot hold."""
        if not np.isfinite(squares).all():
            raise ValueError("X_val or y_val is too large: squared errors exceed the range of float64. Check their units.")

    def compare(self, parameters):
        """R^2 of these parameters, and whether they are worse than the best."""
        with np.errstate(over="ignore", invalid="ignore"):
            (sums,) = self.rows.add_up((differences, parameters, self.best))
        self.check_range(sums)
        square, majority, difference, first, second, weight_square = sums
        score, mean = r_squared(square / self.weight, self.variance), difference / self.weight
        error = np.sqrt(np.maximum(second - 2.0 * mean * first + mean**2 * weight_square, 0.0))
        return score, (score < self.score - self.tol) & (majority > 0.0) & (difference > CHANCE * error)

    def observe(self, parameters):
        """Take note of an epoch's parameters; their R^2."""
        score, worse = self.compare(parameters)
        self.waited = np.where(worse, self.waited + 1, 0)
        better = score > self.score
        self.best[better], self.score[better], self.waited[better] = parameters[better], score[better], 0
        return score


def r_squared(square, variance):
    """R^2 from the mean square of the errors and the variance of the targets; of targets that do not vary, 1 or 0."""
    varies = variance > 0.0
    return np.where(varies, 1.0 - square / np.where(varies, variance, 1.0), np.where(square > 0.0, 0.0, 1.0))


def moments_of_targets(rows):
    """Moments without columns."""
    return rows.without_columns().moments(False)


def differences(rows, parameters, others):
    """Sums over the rows, for each target: of s e^2, s sign(d), s d, s^2 d, s^2 d^2 and s^2.

    e is the error of the parameters, and d by how much e^2 exceeds that of the others.
    """
    weight, square = rows.weights, rows.residuals(parameters) ** 2
    difference = square - rows.residuals(others) ** 2
    sums = square @ weight, np.sign(difference) @ weight, difference @ weight, difference @ weight**2, difference**2 @ weight**2
    return np.array([*sums, np.full(len(square), weight @ weight)])
