"""Readings: the full batch of any loss. All rows once, then a step of the model that their sums make.

At parameters (w, c), with residuals r_i = (x_i - center).w + c - y_i, a reading sums the loss over the rows, its gradient g and
its curvature H = (1/S) sum_i s_i l''(r_i) z_i z_i' with z_i = (x_i - center, 1). The step d minimises the model g.d + d'Hd / 2
plus the penalty at w + d. H is damped by a share of the secant curvature: that of parabolas that touch the loss at each row
and lie above it. With all of it every step gains. Several shares are tried on a sample of the rows, and the best is taken.

A loss that grows linearly is rounded first, which gives kinks a curvature: the curvature of the loss is lowered to kappa,
so that a kink becomes an arc over residuals of size u. This makes the loss smaller, and therefore

    F(w) - min F  <=  (F(w) - F_kappa(w)) + (F_kappa(w) - min F_kappa)

The first difference is known, and the model says how large the second is. u shrinks until the sum is small.
"""

import warnings
from copy import copy
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import nnls
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso

from skgd._descent import Divergence
from skgd._geometry import NEGLIGIBLE
from skgd._objective import SQUARED_ERROR, is_straight, loss_and_slope, penalty_at, rounding_of
from skgd._reference import AVERAGE, COEF
from skgd._rows import SAMPLE

WINDOW, NEAR_WINDOW = 0.5, 0.1  # share of the rows within u of a kink at first; the second if the minimum is known to be near
NARROWER = 0.1  # factor by which u is narrowed
NARROWEST = 1e-10  # the smallest u, as a share of the residual of a typical loss
MOST_READINGS = 40
STALLED = 4  # times the patience of the plateau rule: readings may look at a kink more closely without progress
CHEAP = 200  # columns up to which a search over signs is tried again
CYCLES, SIGN_CHANGES = 1000, 30_000  # of coordinate descent on a model with an l1 norm; of the search that follows, by columns
PROGRESS = 10.0  # a rounding that costs a tenth of what a step gains is narrow enough for the next
LENGTHS = (1.0, 2.0, 4.0)  # of a step for a straight loss, whose curvature may be seen too large
ENOUGH = 1e-5  # of the loss of the best constant: not worth another reading
LEAST = 1e-10  # of the same: rounding
BEST_VALUE = 2  # the place of the best objective among the numbers of an approach
MOSTLY = 0.8  # a larger share of rows is not worth picking out
BOLD = 30.0  # times what the safest step gains: only all rows can tell whether another gains so much more
AT_ONCE = 32  # rows at least that enter a product of matrices together
SMALL = 4  # with more than this many times the rows of a sample, the readings start from a fit of the sample
DAMPINGS = (1e-9, 1e-3, 1e-2, 0.1, 0.3, 1.0)  # shares of the secant curvature; with all of it every step gains


class Target:
    """One target of a problem: its sums over the rows."""

    def __init__(self, problem, k):
        self.rows, self.k, self.loss, self.penalty = problem.rows, k, problem.loss, problem.penalty
        self.geometry = problem.geometries[k]
        self.center = self.geometry.metric[0, :-1]
        self.has_intercept = float(self.geometry.metric[1, -1] > 0.0)
        self.constant, self.constant_loss = problem.constant[k], problem.constant_loss[k]
        self.unit, self.curvature = problem.unit[k], problem.curvature[k]

    def share_of_reach(self, left, value):
        """`left`, the excess of `value` over the minimum, as a share of the excess of the best constant prediction."""
        reach = max(self.constant_loss - value + left, ENOUGH * self.unit)
        return np.divide(left, reach) if 0.0 < reach < np.inf else np.where(reach == 0.0, 0.0, np.inf)

    @cached_property
    def sampled(self):
        """The same on a sample of the rows."""
        if self.rows.sampled is self.rows:
            return self
        target = copy(self)
        target.rows = self.rows.sampled
        return target

    def residuals(self, parameters):
        """Of a sample of the rows, and the weights of these."""
        sample = self.rows.sampled
        return sample.take(sample.numbers) @ parameters[:-1] + self.at_zero(parameters) - sample.targets[self.k], sample.weights

    def add_up(self, request):
        """What a function of the rows adds up to, as a weighted mean."""
        (total,) = self.rows.add_up(request)
        return total * (1.0 / self.rows.total_weight)

    def at_zero(self, parameters):
        """The intercept, taken where the columns of the rows are zero."""
        return parameters[..., -1] - parameters[..., :-1] @ self.center

    def width(self, parameters, share):
        """u to begin with: what has this share of the rows nearer to a kink, and twice as many rows as there are parameters."""
        if not is_straight(self.loss):
            return 0.0
        residual, weight = self.residuals(parameters)
        distance = np.abs(np.abs(residual) - self.loss.insensitive)
        # Rows on a kink, of which there may be many, say nothing of how far the others are.
        is_apart = distance > max(self.narrowest, rounding_of(self.constant))
        if not is_apart.any():
            return self.narrowest
        distance, weight = distance[is_apart], weight[is_apart]
        order = np.argsort(distance)
        fewest = min(2 * len(parameters), len(distance) - 1)
        low, high = sorted((self.loss.cap_above, self.loss.cap_below))
        share *= 2.0 * low / (low + high)  # fewer rows are on one side of an extreme quantile
        at = np.searchsorted(np.cumsum(weight[order]), share * weight.sum())
        return distance[order[max(fewest, min(at, len(order) - 1))]]

    def rounded(self, width):
        """The loss; if it grows linearly, with a curvature so small that an arc reaches over residuals of this width."""
        if not is_straight(self.loss):
            return self.loss
        caps = self.loss.cap_above + self.loss.cap_below
        return self.loss._replace(curvature=min(self.loss.curvature, caps / (2.0 * max(width, self.narrowest))))

    @property
    def narrowest(self):
        """The smallest width of a rounding."""
        return NARROWEST * self.unit / (self.loss.cap_above + self.loss.cap_below)

    def depth(self, width):
        """How far the loss rounded over this width lies below the loss where that is straight."""
        loss = self.rounded(width)
        if not is_straight(loss):
            return 0.0
        return 0.5 * max(loss.cap_above, loss.cap_below) ** 2 * (1.0 / loss.curvature - 1.0 / self.loss.curvature)

    def shift(self, width):
        """How far the best intercept of the loss lies above that of the rounded one, where rows are evenly spread.

        An arc between unequal caps is not centred on its kink.
        """
        loss = self.rounded(width)
        if not is_straight(loss):
            return 0.0
        return self.has_intercept * (loss.cap_below**2 - loss.cap_above**2) / (2.0 * loss.curvature)

    def objectives(self, candidates, *losses):
        """For each loss, the objective at each of several parameter vectors: of predictions as the user gets them."""
        candidates = np.atleast_2d(candidates)
        at_zero = np.column_stack([candidates[:, :-1], self.at_zero(candidates)])
        return self.add_up((losses_over, self.k, at_zero, losses)) + penalty_at(self.penalty, candidates[:, :-1])

    def look(self, parameters, loss):
        """The objective, and its gradient without that of the l1 norm, at the cost of reading X once."""
        ((value, gradient),) = look_at([self], parameters[None], loss)
        return value, gradient

    def request(self, parameters, basis, loss, before=None, shift=0.0):
        """What a reading adds up: the objectives and this loss's derivatives in `basis`.

        The objectives are those of the given loss, of the problem's own with the intercept shifted, and of the one before.
        """
        losses = (loss, 0.0), (self.loss, shift), (before or loss, 0.0)
        return derivatives_over, self.k, self.center, parameters, basis, self.has_intercept, losses

    def model(self, parameters, sums):
        """What a request adds up to, as means.

        These are the objectives, the share of rows for which the loss read before is curved, the gradient (without the
        penalty), the curvature and the secant curvature.

        The intercept is the last. A loss that grows like a square lies below one parabola of its own curvature everywhere.
        """
        values, gradient, hessian, secant = sums / self.rows.total_weight
        identity = np.eye(len(gradient))
        if secant is None:
            secant = self.curvature * identity
        values[:3] += penalty_at(self.penalty, parameters[:-1])
        hessian = hessian + NEGLIGIBLE * max(np.trace(hessian), self.curvature) * identity
        return *values, gradient, hessian, secant

    def read(self, parameters, *about):
        """One reading: what `model` tells of the request (parameters, *about)."""
        (sums,) = self.rows.add_up(self.request(parameters, *about))
        return self.model(parameters, sums)


def look_at(targets, parameters, loss, without_targets=False):
    """`look` of several targets of the same rows, each at parameters of its own: X is read once for all.

    With zeros in the place of the targets' values, if they are to be left out.
    """
    rows, numbers = targets[0].rows, [target.k for target in targets]
    at_zero = np.array([target.at_zero(row) for target, row in zip(targets, parameters, strict=True)])
    values = 0.0 if without_targets else 1.0
    (sums,) = rows.add_up((slopes_over, numbers, np.column_stack([parameters[:, :-1], at_zero]), loss, values))
    sums *= 1.0 / rows.total_weight
    for target, row, value, gradient in zip(targets, parameters, sums[:, 0], sums[:, 1:], strict=True):
        gradient[:-1] += target.penalty.l2 * row[:-1] - gradient[-1] * target.center
        gradient[-1] *= target.has_intercept
        yield value + penalty_at(target.penalty, row[:-1]), gradient


@dataclass(frozen=True)
class Sums:
    """What a reading has added up over some rows; those of all rows are the sums of these."""

    values: np.ndarray  # of several losses
    gradient: np.ndarray
    hessian: np.ndarray
    secant: np.ndarray | None  # of a loss that grows linearly

    def __iter__(self):
        return iter((self.values, self.gradient, self.hessian, self.secant))

    def __add__(self, other):
        return Sums(*(None if a is None else a + b for a, b in zip(self, other, strict=True)))

    def __truediv__(self, total):
        return Sums(*(None if a is None else a / total for a in self))


def losses_over(rows, k, candidates, losses):
    """sum_i s_i l(r_i) for each loss, at each of several parameter vectors."""
    total = np.zeros((len(losses), len(candidates)))
    for _, which in rows.blocks():
        residual = rows.take(which) @ candidates[:, :-1].T + candidates[:, -1] - rows.y[k, which][:, None]
        total += [rows.weight[which] @ loss_and_slope(loss, residual)[0] for loss in losses]
    return total


def slopes_over(rows, targets, parameters, loss, values=1.0):
    """sum_i s_i l(r_i), and its derivatives by the coefficients and by the intercept, a row for each of some targets.

    The targets' values are multiplied by `values`.
    """
    total = np.zeros((len(targets), parameters.shape[1] + 1))
    for _, which in rows.blocks(1.0 if rows.is_sparse else None, at_least=AT_ONCE):  # products of sparse rows need little room
        X, weight = rows.take(which), rows.weight[which]
        predictions = (X @ parameters[:, :-1].T + parameters[:, -1]).T
        value, slope = loss_and_slope(loss, predictions - values * rows.y[:, which][targets])
        slope *= weight
        total[:, 0] += value @ weight
        total[:, 1:-1] += slope @ X
        total[:, -1] += slope.sum(axis=1)
    return total


def derivatives_over(rows, k, center, parameters, basis, has_intercept, losses):
    """The Sums of three losses, each with a shift of the intercept, and the weight of the rows for which the last is curved.

    The derivatives are those of the first loss.
    """
    (loss, _), _, (before, _) = losses
    size = basis.shape[1] + 1
    square = np.zeros((size, size))
    total = Sums(np.zeros(len(losses) + 1), np.zeros(size), square, square if is_straight(loss) else None)
    for _, which in rows.blocks():
        X, weight = rows.take(which) - center, rows.weight[which]
        residual = X @ parameters[:-1] + parameters[-1] - rows.y[k, which]
        z = np.empty((len(residual), size))
        z[:, :-1], z[:, -1] = X @ basis, has_intercept
        value, slope = loss_and_slope(loss, residual)
        values = {losses[0]: weight @ value}
        for other, shift in {*losses[1:]} - {losses[0]}:
            values[other, shift] = weight @ loss_and_slope(other, residual + shift)[0]
        total += Sums(
            np.array([*(values[each] for each in losses), weight @ (bend(before, residual) > 0.0)]),
            (weight * slope) @ z,
            weighted_products(z, weight * bend(loss, residual)),
            weighted_products(z, weight * straight_part(loss, residual)) if is_straight(loss) else None,
        )
    return total


def weighted_products(z, weight):
    """sum_i weight_i z_i z_i', of the rows that have a weight."""
    counted = weight > 0.0
    if np.count_nonzero(counted) < MOSTLY * len(weight):
        z, weight = z[counted], weight[counted]
    return z.T @ (weight[:, None] * z)


def bend(loss, residual):
    """The second derivative of a loss."""
    excess = np.abs(residual) - loss.insensitive
    cap = np.where(residual > 0.0, loss.cap_above, loss.cap_below)
    return np.where((excess >= 0.0) & (loss.curvature * excess < cap), loss.curvature, 0.0)


def straight_part(loss, residual):
    """The curvature that a parabola needs beyond the loss's own, if it is to touch the loss at r and lie above it.

    For a kink at zero with slopes -c and c, the parabola has curvature c / |r|. With an insensitive zone, the loss is the mean
    of two kinks at the zone's ends. Unequal caps add a straight line, which has no curvature: c is the mean of both caps.
    """
    c, e = 0.5 * (loss.cap_above + loss.cap_below), loss.insensitive
    with np.errstate(divide="ignore"):
        above = 0.5 * c / np.abs(residual - e) + 0.5 * c / np.abs(residual + e)
    return np.maximum(np.minimum(above, loss.curvature) - bend(loss, residual), 0.0)


def smooth_steps(target, parameters, basis, dampings, gradient, hessian, secant):
    """Each damping of a model without exact zeros: where it leads, the step in `basis`, what it gains, and what it misses."""
    l2 = target.penalty.l2
    gradient = gradient + np.append(l2 * (basis.T @ parameters[:-1]), 0.0)
    hessian[:-1, :-1] += l2 * (basis.T @ basis)
    for damping in dampings:
        step = -np.linalg.solve(hessian + damping * secant, gradient)
        gained = -(gradient @ step + 0.5 * step @ hessian @ step)
        yield parameters + np.append(basis @ step[:-1], step[-1]), step, gained, 0.0


def sparse_steps(target, parameters, basis, dampings, gradient, hessian, secant):
    """The same to exact zeros; what it misses is the dual gap where no minimum was reached.

    Without the intercept, which follows, the minimum of a model depends on the signs of the coefficients alone. The search for
    them begins with the largest damping, whose minimum is nearest, and goes on from one damping to the next.
    """
    scale, penalty, found = np.diag(basis), target.penalty, []
    near = start = np.divide(parameters[:-1], scale, out=np.zeros(len(basis)), where=scale > 0.0)
    is_exact, is_cheap = True, len(basis) <= CHEAP
    for damping in reversed(dampings):
        damped = hessian + damping * secant
        cross, bend = damped[:-1, -1], damped[-1, -1]
        gram = damped[:-1, :-1] - np.outer(cross, cross) / bend
        linear = gram @ start - gradient[:-1] + cross * gradient[-1] / bend
        gram += np.diag(penalty.l2 * scale**2)
        gap = 0.0
        if penalty.lowest > -np.inf:
            near, is_exact = nonnegative(gram, linear - penalty.l1 * scale), True
        elif is_exact or is_cheap:  # a search that has failed would fail again: smaller dampings are harder
            near, is_exact = search_signs(gram, linear, penalty.l1 * scale, near)
        if not is_exact:
            near, gap = coordinate_descent(gram, linear, penalty.l1, scale)
        if not is_exact and is_cheap:
            near, is_exact = search_signs(gram, linear, penalty.l1 * scale, near)
            gap = 0.0 if is_exact else gap
        coef, moved = scale * near, near - start
        step = np.append(moved, -(gradient[-1] + cross @ moved) / bend * target.has_intercept)
        gained = penalty_at(penalty, parameters[:-1]) - penalty_at(penalty, coef)
        gained -= gradient @ step + 0.5 * step @ hessian @ step
        found.append((np.append(coef, parameters[-1] + step[-1]), step, gained, gap))
    return found[::-1]


def as_least_squares(gram, linear):
    """A and b for which |Av - b|^2 / 2 is v'Gv / 2 - linear.v but for a constant: as many rows as columns."""
    values, vectors = np.linalg.eigh(gram)
    root = np.sqrt(np.maximum(values, np.finfo(np.float64).eps * values[-1]))
    return root[:, None] * vectors.T, vectors.T @ linear / root


def nonnegative(gram, linear):
    """The minimum of v'Gv / 2 - linear.v over v >= 0."""
    return nnls(*as_least_squares(gram, linear), maxiter=30 * len(linear))[0]


def coordinate_descent(gram, linear, l1, scale):
    """Near the minimum of v'Gv / 2 - b'v + l1 sum_j scale_j |v_j|, and the dual gap there: Lasso on as many rows as columns."""
    root, target = as_least_squares(gram, linear)
    size, table = np.sqrt(len(linear)), np.divide(root, scale, out=np.zeros_like(root), where=scale > 0.0)
    lasso = Lasso(alpha=l1, fit_intercept=False, tol=1e-8, max_iter=CYCLES)
    with warnings.catch_warnings():  # the dual gap says how near
        warnings.simplefilter("ignore", ConvergenceWarning)
        coef = lasso.fit(size * table, size * target).coef_
    return np.divide(coef, scale, out=np.zeros_like(coef), where=scale > 0.0), lasso.dual_gap_


def search_signs(gram, linear, strength, v):
    """The minimum of v'Gv / 2 - b'v + sum_j strength_j |v_j| from a `v` near it, and whether it was reached.

    Feature-sign search (Lee, Battle, Raina & Ng 2006): with the signs given, the minimum is a linear system; on the way there
    the first best place is taken where a coefficient is zero.
    """
    tolerance = 1e-9 * np.max(np.abs(linear) + strength)

    def objective(points):
        return np.sum(points * (0.5 * points @ gram - linear), axis=1) + np.abs(points) @ strength

    for _ in range(int(np.clip(SIGN_CHANGES / len(v), 10, 200))):
        gradient, signs = gram @ v - linear, np.sign(v)
        excess = np.where(v == 0.0, np.abs(gradient) - strength, np.abs(gradient + strength * signs))
        if excess.max() <= tolerance:
            return v, True
        if np.where(v == 0.0, 0.0, excess).max() <= tolerance:  # the signs are right: free the coefficient that asks most
            signs[np.argmax(excess)] = -np.sign(gradient[np.argmax(excess)])
        free, end = np.flatnonzero(signs), np.zeros_like(v)
        try:
            end[free] = np.linalg.solve(gram[np.ix_(free, free)], (linear - strength * signs)[free])
        except np.linalg.LinAlgError:  # redundant columns: their share of the minimum is undetermined
            return v, False
        crossing = np.flatnonzero(v * end < 0.0)
        shares = v[crossing] / (v[crossing] - end[crossing])
        points = np.vstack([end, v + shares[:, None] * (end - v), v])
        points[np.arange(1, len(points) - 1), crossing] = 0.0
        best = np.argmin(objective(points))
        if best == len(points) - 1:  # rounding: nothing is better than v
            return v, False
        v = points[best]
    return v, False


class Approach:
    """One target on its way to the minimum: a reading, a step that its model and a sample of the rows choose, a reading again.

    Parameters
    ----------
    target : Target
    point : ndarray of shape (n_features + 1,)
        What to read first.
    accuracy : float
        The excess over the minimum that ends the approach, as a share of what the best constant prediction loses.
    memory : tuple, optional
        Where another approach stopped: its numbers, its best point, and the point to go to if the next one is worse.
    """

    def __init__(self, target, point, accuracy, memory=None, share=WINDOW):
        self.target, self.point, self.accuracy = target, point, accuracy
        makes_zeros = target.penalty.makes_zeros
        self.basis = np.diag(np.sqrt(target.geometry.metric[1, :-1])) if makes_zeros else target.geometry.whitening
        self.steps_of_model = sparse_steps if makes_zeros else smooth_steps
        self.slack = ENOUGH * target.unit if makes_zeros else 0.0  # zeros may cost what is not worth a reading
        if memory is None:
            width = target.width(point, share)
            self.point = self.shifted(point, -target.shift(width))
            memory = (width, width, np.inf, np.inf, np.inf, 0.0, 0.0, 0.0, 0.0), point, self.point
        numbers, self.best, self.safe = memory
        self.width, self.width_before, self.best_value, self.left, self.value, *self.expected, self.damping, self.gap = numbers
        self.arrived = False

    @property
    def memory(self):
        numbers = self.width, self.width_before, self.best_value, self.left, self.value, *self.expected, self.damping, self.gap
        return numbers, self.best, self.safe

    def read(self):
        """Read all rows at the point and choose the next one; the objective."""
        (sums,) = self.target.rows.add_up(self.request())
        return self.learn(sums)

    def request(self):
        """What to add up over all rows."""
        target = self.target
        rounded, before = target.rounded(self.width), target.rounded(self.width_before)
        return target.request(self.point, self.basis, rounded, before, target.shift(self.width))

    def learn(self, sums):
        """Choose the next point by what has been added up; the objective at this one."""
        target, loss, shift = self.target, self.target.rounded(self.width), self.target.shift(self.width)
        value, exact, value_before, share_bent, *model = target.model(self.point, sums)
        if exact <= self.best_value + self.slack:
            self.best, self.best_value = self.shifted(self.point, shift), exact
        gained, rounding = self.value - value_before, exact - value_before
        if not self.slack and target.loss.cap_above == target.loss.cap_below:
            # Rows in the arc, of which the minimum holds at least one for each parameter, are all that rounding is unjust to.
            rounding = min(rounding, max(share_bent, len(self.point) / len(target.rows)) * target.depth(self.width_before))
        enough = max(self.accuracy * (target.constant_loss - self.best_value), LEAST * target.unit)
        if not gained >= -(enough + self.slack) and not np.array_equal(self.point, self.safe):
            self.point, self.damping = self.safe, 1.0
            return exact
        if np.isfinite(gained):
            # An undamped step leaves what the model did not foresee; a damped one may be one of many.
            undamped = self.damping == 0.0
            remaining = self.gap + (abs(self.expected[0] - gained) if undamped else max(10.0 * gained, self.expected[1]))
            if gained >= 0.0:
                self.left = min(self.left, self.best_value - value_before + remaining)
            settled = max(abs(gained), rounding, self.gap) <= enough
            if settled:
                self.left = min(self.left, rounding + 3.0 * max(gained, enough))
            before, after = target.rounded(self.width_before), target.rounded(NARROWER * self.width)
            is_narrowest = rounding <= enough or before == loss == after
            is_stuck = is_narrowest and (self.damping < 0.0 or gained <= LEAST * target.unit)
            self.arrived = settled or is_stuck or self.left <= enough
            if self.arrived and not self.slack:
                return exact
        narrows = gained <= max(enough, PROGRESS * rounding) and rounding > 0.0
        self.choose(loss, value, *model)
        self.width_before = self.width
        if narrows:
            self.width *= NARROWER
            self.point, self.safe = (self.shifted(p, shift - target.shift(self.width)) for p in (self.point, self.safe))
        return exact

    def shifted(self, point, shift):
        """The point with its intercept moved."""
        return np.append(point[:-1], point[-1] + shift)

    def choose(self, loss, value, gradient, *model):
        """The next point: where the dampings lead to, or farther, whichever a sample of the rows likes best.

        The sample is corrected by the gradient of all rows, so that it does not pull towards its own minimum.
        """
        target, point, sample = self.target, self.point, self.target.sampled
        dampings = DAMPINGS[:: len(DAMPINGS) - 1] if loss == SQUARED_ERROR else DAMPINGS
        ends, steps, expected, gaps = zip(
            *self.steps_of_model(target, point, self.basis, dampings, gradient, *model), strict=True
        )
        lengths = LENGTHS if is_straight(loss) and not self.slack else LENGTHS[:1]
        candidates = np.concatenate([point + length * (np.array(ends) - point) if length > 1.0 else ends for length in lengths])
        (values,) = sample.objectives(np.vstack([point, candidates]), loss)
        if len(sample.rows) < len(target.rows):
            amiss = gradient - sample.read(point, self.basis, loss)[4]
            values[1:] += np.concatenate([length * (np.array(steps) @ amiss) for length in lengths])
            is_bold = np.array(expected) > BOLD * expected[-1]  # along directions that the sample may not have
            values[1:][np.tile(is_bold, len(lengths))] = np.inf
        values = np.nan_to_num(values, nan=np.inf)
        undamped_will_do = self.slack and values[1] <= values[0] + self.slack
        k = 0 if undamped_will_do else int(np.argmin(values)) - 1  # -1: stay, and look more closely
        self.value, self.expected, self.damping = value, [expected[0], expected[len(expected) // 3]], float(k)
        self.gap = max(gaps)
        self.point, self.safe = candidates[k] if k >= 0 else point, ends[-1]

    def end(self):
        """The best point read, or the next one if it is better still."""
        point = self.shifted(self.point, self.target.shift(self.width))
        if np.array_equal(point, self.best):
            return self.best
        (values,) = self.target.objectives(np.vstack([self.best, point]), self.target.loss)
        return point if values[1] <= values[0] + self.slack else self.best


def approach(target, start, accuracy):
    """Readings from `start` on, until no more than this share is left; where they end, and what is left."""
    way = Approach(target, start, max(accuracy, ENOUGH))
    for _ in range(MOST_READINGS):
        way.read()
        if way.arrived:
            break
    return way.end(), way.left


class Readings:
    """Epochs of the full batch under "auto": each reads all rows once and makes one step of each target's model."""

    n_batches, result, factor = 1, AVERAGE, 1.0
    knows_excess = True

    def __init__(self, targets, parameters, tol, memory=None):
        self.rows, self.approaches = targets[0].rows, []
        for k, (target, start) in enumerate(zip(targets, parameters[:, COEF], strict=True)):
            remembered = None
            if memory is not None:
                numbers, best = memory[0][k], parameters[k, AVERAGE]
                ((value,),) = target.objectives(best, target.loss)
                if np.isclose(value, numbers[BEST_VALUE], rtol=1e-8, atol=0.0):  # it was about these rows
                    remembered = numbers, best, memory[1][k]
            near = remembered is None and len(self.rows) > SMALL * SAMPLE
            if near:
                start, _ = approach(target.sampled, start, 10.0 * tol)
            self.approaches.append(Approach(target, start, tol, remembered, NEAR_WINDOW if near else WINDOW))

    @property
    def memory(self):
        """What a later fit goes on from, beside the parameters: the numbers of each approach, and its safe point."""
        numbers, _, safe = zip(*(way.memory for way in self.approaches), strict=True)
        return np.array(numbers), np.array(safe)

    def make(self, epoch, parameters, history):
        """Make a reading; the objectives where it was made."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            objective = np.array([way.best_value for way in self.approaches])
            going_on = [k for k, way in enumerate(self.approaches) if not way.arrived]
            sums = self.rows.add_up(*(self.approaches[k].request() for k in going_on)) if going_on else []
            objective[going_on] = [self.approaches[k].learn(of_target) for k, of_target in zip(going_on, sums, strict=True)]
        if not np.isfinite(objective).all():
            raise Divergence(len(history.objective) + 1, 1.0)
        for way, row in zip(self.approaches, parameters, strict=True):
            row[COEF], row[AVERAGE] = way.point, way.best
        history.note_step(objective, parameters)
        return objective

    @property
    def is_done(self):
        """Which targets have arrived."""
        return np.array([way.arrived for way in self.approaches])

    def finished(self, plateau, history):
        """Whether all targets are as near to their minimum as asked for, or have stalled for long by the plateau rule."""
        has_stalled = (plateau.waited >= STALLED * plateau.patience).all()
        return all(way.arrived for way in self.approaches) or has_stalled or plateau.ended.all()

    def length(self, t):
        """Steps of a model are whole ones."""
        return np.ones(len(self.approaches))

    def end(self, parameters):
        """Where the descent has ended."""
        return np.array([way.end() for way in self.approaches])

    def excess(self):
        """The excess over the minimum of each target, as a share of the excess of the best constant prediction."""
        return np.array([way.target.share_of_reach(way.left, way.best_value) for way in self.approaches])
