"""Readings: all rows once, where a descent has ended, to learn how far the minimum may be and to go there if it is far.

At parameters (w, c), with residuals r_i = (x_i - center).w + c - y_i, a reading sums the loss over the rows, its gradient g and
its curvature H = (1/S) sum_i s_i l''(r_i) z_i z_i' with z_i = (x_i - center, 1). The step d that minimises the model
g.d + d'Hd / 2 with the penalty at w + d is taken if the objective falls. H is damped by a share of the secant curvature of the
rows, |l'(r)| / |r|, with all of which every step gains: the best of several shares is taken.

A loss that goes on straight is rounded first, so that a kink has a curvature, too: its own is lowered to kappa, which the
rounding reaches over residuals of size u. That lowers the loss, nowhere by more than the caps allow; so

    F(w) - min F  <=  (F(w) - F_kappa(w)) + (F_kappa(w) - min F_kappa)

where the first difference is known and the model says how large the second is. u shrinks until the sum is small.
"""

import warnings
from copy import copy

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNet

from skgd._geometry import NEGLIGIBLE, full_batch_step
from skgd._objective import SQUARED_ERROR, is_straight, loss_and_slope, penalty_at

LARGER, WINDOW = 0.9, 0.3  # u to begin with is this share of a residual that this share of the rows does not exceed,
NARROWER = 0.25  # by which it is multiplied where it has served,
NARROWEST = 1e-10  # of the residual of a typical loss,
NARROWINGS = 16  # and this is how often it is halved at most to see how far the minimum is
STEPS = (1.0, 0.25, 0.0625)  # shares of a step, tried in this order
MOST_READINGS = 40
ENOUGH = 1e-5  # of the loss of the best constant: not worth another reading
DAMPINGS = (1e-9, 1e-4, 1e-3, 1e-2, 0.1, 1.0)  # shares of the secant curvature; with all of it every step gains
STEPS_OF_CONJUGATE_GRADIENTS, ROUNDS = 100, 10
MOST_ACTIVE, MOST_PRODUCTS = 500, 5e8  # columns whose curvature is read at a time, and rows times their square
MOST_CHOICES = 6  # of such columns
TAIL = 10.0  # times what the last of them has gained, all further ones would gain, about
PROXIMAL_STEPS = 10


class Target:
    """One target of a problem: its sums over the rows."""

    def __init__(self, problem, k):
        self.rows, self.y, self.loss, self.penalty = problem.rows, problem.rows.y[k], problem.loss, problem.penalty
        self.geometry = problem.geometries[k]
        self.center = self.geometry.metric[0, :-1]
        self.has_intercept = float(self.geometry.metric[1, -1] > 0.0)
        self.constant, self.constant_loss = problem.constant[k], problem.constant_loss[k]
        self.unit, self.curvature = problem.unit[k], problem.curvature[k]

    def among(self, columns, parameters):
        """The same with only some columns free, the others being left at what they are in `parameters`."""
        target, free = copy(self), np.zeros(len(parameters) - 1, dtype=bool)
        free[columns] = True
        rest, center = np.where(free, 0.0, parameters[:-1]), 0.0 if self.rows.is_sparse else self.center
        target.y, target.rows = np.array(self.y), self.rows.with_columns(columns)
        for _, which in self.rows.blocks():
            target.y[which] -= self.rows.take(which) @ rest - rest @ (center + np.zeros(len(rest)))
        target.center = self.center[columns]
        target.geometry = self.geometry._replace(metric=self.geometry.metric[:2, np.append(columns, len(rest))])
        return target

    def blocks(self):
        """For each block: centred rows, targets, and weights that sum to 1 over all blocks."""
        for _, which in self.rows.blocks():
            X = self.rows.take(which)
            yield X if self.rows.is_sparse else X - self.center, self.y[which], self.rows.weight[which] / self.rows.total_weight

    def residuals(self, parameters):
        """Of a sample of the rows, and the weights of these."""
        which, weight = self.rows.sample()
        X = self.rows.take(which)
        X = X if self.rows.is_sparse else X - self.center
        return X @ parameters[:-1] + parameters[-1] - self.y[which], weight

    def width(self, parameters):
        """u to begin with: a share of the larger residuals, and of twice as many rows as there are parameters at least."""
        residual, weight = self.residuals(parameters)
        order = np.argsort(np.abs(residual))
        larger = np.searchsorted(np.cumsum(weight[order]), LARGER * weight.sum())
        fewest = min(2 * len(parameters), len(residual) - 1)
        return max(WINDOW * np.abs(residual[order[min(larger, len(order) - 1)]]), np.abs(residual[order[fewest]]))

    def rounded(self, width):
        """The loss, if it goes on straight with a curvature that reaches over residuals of this width."""
        if not is_straight(self.loss):
            return self.loss
        caps = self.loss.cap_above + self.loss.cap_below
        narrowest = NARROWEST * self.unit / caps
        return self.loss._replace(curvature=min(self.loss.curvature, caps / (2.0 * max(width, narrowest))))

    def objectives(self, candidates, *losses):
        """For each loss, the objective at each of several parameter vectors: of predictions as the user gets them."""
        candidates = np.atleast_2d(candidates)
        coef, intercept = candidates[:, :-1].T, candidates[:, -1]
        if not self.rows.is_sparse:
            intercept = intercept - self.center @ coef
        total = np.tile(penalty_at(self.penalty, candidates[:, :-1]), (len(losses), 1))
        for _, which in self.rows.blocks():
            residual = self.rows.take(which) @ coef + intercept - self.y[which][:, None]
            share = self.rows.weight[which] / self.rows.total_weight
            total += [share @ loss_and_slope(loss, residual)[0] for loss in losses]
        return total

    def look(self, parameters, loss):
        """The objective, and its gradient without that of the l1 norm, at the cost of reading X once."""
        gradient, coef = np.zeros_like(parameters), parameters[:-1]
        center = np.zeros_like(coef) if self.rows.is_sparse else self.center
        total, intercept = penalty_at(self.penalty, coef), parameters[-1] - center @ coef
        for _, which in self.rows.blocks():
            X, share = self.rows.take(which), self.rows.weight[which] / self.rows.total_weight
            value, slope = loss_and_slope(loss, X @ coef + intercept - self.y[which])
            total += share @ value
            slope *= share
            gradient[:-1] += slope @ X
            gradient[-1] += slope.sum()
        gradient[:-1] += self.penalty.l2 * coef - gradient[-1] * center
        gradient[-1] *= self.has_intercept
        return total, gradient

    def read(self, parameters, basis, loss):
        """Gradient and curvature of the mean loss in the coordinates of `basis` and the intercept, and the secant curvature."""
        k = basis.shape[1] + 1
        gradient, hessian, secant = np.zeros(k), np.zeros((k, k)), np.zeros((k, k))
        for X, y, share in self.blocks():
            residual = X @ parameters[:-1] + parameters[-1] - y
            slope, bends = loss_and_slope(loss, residual)[1], bend(loss, residual)
            z = np.column_stack([X @ basis, np.full(len(y), self.has_intercept)])
            gradient += (share * slope) @ z
            hessian += z.T @ ((share * bends)[:, None] * z)
            if is_straight(loss):
                secant += z.T @ ((share * straight_part(loss, residual))[:, None] * z)
        if not is_straight(loss):
            secant = self.curvature * np.eye(k)
        return gradient, hessian + NEGLIGIBLE * max(np.trace(hessian), self.curvature) * np.eye(k), secant


def bend(loss, residual):
    """The second derivative of a loss."""
    excess = np.abs(residual) - loss.insensitive
    cap = np.where(residual > 0.0, loss.cap_above, loss.cap_below)
    return np.where((excess >= 0.0) & (loss.curvature * excess < cap), loss.curvature, 0.0)


def straight_part(loss, residual):
    """Where a loss goes on straight, the curvature of the parabola about zero that touches it: |l'(r)| / |r|.

    The slope is taken as half of what both caps add up to: a straight line that all rows have in common has no curvature.
    """
    is_straight_there = (bend(loss, residual) == 0.0) & (np.abs(residual) > loss.insensitive)
    half = 0.5 * (loss.cap_above + loss.cap_below)
    return np.divide(half, np.abs(residual), out=np.zeros_like(residual), where=is_straight_there)


def smooth_steps(target, parameters, basis, dampings, gradient, hessian, secant):
    """The step of a model without an l1 norm for each damping, and what it gains in the model."""
    l2 = target.penalty.l2
    gradient = gradient + np.append(l2 * (basis.T @ parameters[:-1]), 0.0)
    hessian[:-1, :-1] += l2 * (basis.T @ basis)
    for damping in dampings:
        step = -np.linalg.solve(hessian + damping * secant, gradient)
        yield np.append(basis @ step[:-1], step[-1]), -(gradient @ step + 0.5 * step @ hessian @ step)


def sparse_steps(target, parameters, basis, dampings, gradient, hessian, secant):
    """The step of a model with an l1 norm for each damping, to exact zeros, and what it gains in the model.

    Without the intercept, which follows, the model is a squared error on as many rows as there are columns; coordinate descent
    finds its minimum.
    """
    scale, n_features, penalty = np.diag(basis), len(basis), target.penalty
    strength, size = penalty.l1 + penalty.l2, np.sqrt(n_features)
    lasso = ElasticNet(alpha=strength, l1_ratio=penalty.l1 / strength, fit_intercept=False, tol=1e-8, max_iter=2000)
    start = np.divide(parameters[:-1], scale, out=np.zeros(n_features), where=scale > 0.0)
    for damping in dampings:
        damped = hessian + damping * secant
        cross, bend = damped[:-1, -1], damped[-1, -1]
        values, vectors = np.linalg.eigh(damped[:-1, :-1] - np.outer(cross, cross) / bend)
        values = np.maximum(values, np.finfo(np.float64).eps * values[-1])
        root = np.sqrt(values)[:, None] * vectors.T
        wanted = root @ start - (vectors.T @ (gradient[:-1] - cross * gradient[-1] / bend)) / np.sqrt(values)
        table = np.divide(root, scale, out=np.zeros_like(root), where=scale > 0.0)
        with warnings.catch_warnings():  # the guard sees what a minimum not quite reached is worth
            warnings.simplefilter("ignore", ConvergenceWarning)
            coef = lasso.fit(size * table, size * wanted).coef_
        moved = np.divide(coef - parameters[:-1], scale, out=np.zeros(n_features), where=scale > 0.0)
        step = np.append(moved, -(gradient[-1] + cross @ moved) / bend * target.has_intercept)
        gained = (
            penalty_at(penalty, parameters[:-1]) - penalty_at(penalty, coef) - gradient @ step - 0.5 * step @ hessian @ step
        )
        yield np.append(coef - parameters[:-1], step[-1]), gained


def approach(target, start, tolerated):
    """Guarded steps of the model from `start` on, until less than `tolerated` is left; where they end, and what is left."""
    has_l1, enough = target.penalty.l1 > 0.0, ENOUGH * target.unit
    basis = np.diag(np.sqrt(target.geometry.metric[1, :-1])) if has_l1 else target.geometry.whitening
    model_steps, slack = (sparse_steps, enough) if has_l1 else (smooth_steps, 0.0)  # zeros may cost what is not worth a reading
    point, width = start, target.width(start) if is_straight(target.loss) else 0.0
    loss = target.rounded(width)
    (best_value,), (value,) = target.objectives(start, target.loss, loss)
    best, least, rounding, gained = start, np.inf, best_value - value, np.inf
    dampings = DAMPINGS if is_straight(loss) else DAMPINGS[::5]
    for _ in range(MOST_READINGS):
        steps, expected = zip(*model_steps(target, point, basis, dampings, *target.read(point, basis, loss)), strict=True)
        candidates = point + np.array(steps)
        exact, rounded = np.nan_to_num(target.objectives(candidates, target.loss, loss), nan=np.inf)
        k = 0 if has_l1 and rounded[0] <= value + slack else np.argmin(rounded)
        gained = value - rounded[k]
        if exact[k] <= best_value + slack:
            best, best_value = candidates[k], exact[k]
        if gained >= -slack:
            point, value, rounding = candidates[k], rounded[k], exact[k] - rounded[k]
        # An undamped step leaves what the model did not foresee; a damped one may be one of many.
        remaining = abs(expected[0] - gained) if k == 0 else max(10.0 * gained, expected[len(expected) // 2])
        least = min(least, best_value - value + remaining)
        if least <= max(enough, tolerated) or (gained <= enough and rounding <= enough):
            break
        if gained <= max(enough, 0.1 * rounding):
            width *= NARROWER
            loss = target.rounded(width)
            ((value,),) = target.objectives(point, loss)
            rounding = target.objectives(point, target.loss)[0, 0] - value
    return best, min(least, rounding + 10.0 * max(gained, enough))


def conjugate_gradients(target, start, enough, width):
    """Of many columns: steps of conjugate gradients; where they end, what they gain, and what is left.

    With all of the secant curvature, so that the steps of a loss that goes on straight gain, too.
    """
    scale, l2, loss = target.geometry.metric[1], target.penalty.l2, target.rounded(width)
    _, gradient = target.look(start, loss)
    residuals = ((X @ start[:-1] + start[-1] - y, share) for X, y, share in target.blocks())
    bends = [share * (bend(loss, r) + (straight_part(loss, r) if is_straight(loss) else 0.0)) for r, share in residuals]

    def hessian_times(v):
        product = np.append(l2 * v[:-1], 0.0)
        for (X, _, _), bends_of_block in zip(target.blocks(), bends, strict=True):
            weighted = bends_of_block * (X @ v[:-1] + v[-1])
            product += np.append(weighted @ X, weighted.sum())
        product[-1] *= target.has_intercept
        return product

    step, residual, gains = np.zeros_like(gradient), -gradient, [0.0]
    direction = scale * residual
    along = residual @ direction
    for _ in range(STEPS_OF_CONJUGATE_GRADIENTS):
        product = hessian_times(direction)
        curvature = direction @ product
        if not (along > 0.0 and curvature > 0.0):
            break
        length = along / curvature
        step += length * direction
        residual -= length * product
        gains.append(0.5 * length * along)
        if gains[-1] <= enough:
            break
        before, along = along, residual @ (scale * residual)
        direction = scale * residual + along / before * direction
    candidates = np.vstack([start, start + np.outer(STEPS, step)])
    exact, rounded = target.objectives(candidates, target.loss, loss)
    best = np.nanargmin(rounded)
    gained = rounded[0] - rounded[best]
    # The model is that of a parabola above a straight loss: then the next one may gain as much again.
    left = max(TAIL * gains[-1], sum(gains) - gained, gained if is_straight(loss) else 0.0)
    return candidates[best], gained, left + exact[best] - rounded[best]


def proximal_steps(target, start, n_steps):
    """Accelerated steps on all rows, short enough for each of them, that end on exact zeros; their end, and what they gain."""
    penalty, loss = target.penalty, target.rounded(target.width(start))
    reach = full_batch_step(target.geometry, penalty.l2 / target.curvature) * target.geometry.metric[1] / loss.curvature
    ((value,),) = target.objectives(start, target.loss)
    for share in STEPS:
        eta, now, ahead = share * reach, start, start
        for k in range(n_steps):
            before, now = now, ahead - eta * target.look(ahead, loss)[1]
            now[:-1] = np.copysign(np.maximum(np.abs(now[:-1]) - eta[:-1] * penalty.l1, 0.0), now[:-1])
            ahead = now + k / (k + 3.0) * (now - before)
        gained = value - target.objectives(now, target.loss)[0, 0]
        if gained >= -ENOUGH * target.unit:
            return now, gained
    return start, 0.0


def approach_by_columns(target, start, promised, left):
    """The approach to zeros of many columns, some hundred at a time: those that the gradient would move most.

    Where they end, and what is left if `left` is at the start.
    """
    l1, scale, point = target.penalty.l1, target.geometry.metric[1, :-1], start
    most = int(np.clip(np.sqrt(MOST_PRODUCTS / len(target.rows)), 50, MOST_ACTIVE))
    for _ in range(MOST_CHOICES):
        coef, loss = point[:-1], target.rounded(NARROWER**2 * target.width(point))
        slope = target.look(point, loss)[1][:-1]
        drawn = np.where(coef == 0.0, np.maximum(np.abs(slope) - l1, 0.0), np.abs(slope + l1 * np.sign(coef)))
        drawn *= np.sqrt(scale)
        preferred = np.where(coef == 0.0, drawn, np.inf) if np.count_nonzero(coef) <= most else drawn
        columns = np.sort(np.argsort(-preferred)[: min(most, np.count_nonzero(preferred))])
        has_arrived = max(left, 0.5 * np.sum(drawn**2) / target.curvature) <= promised
        if has_arrived or not len(columns) or np.count_nonzero(coef) > MOST_CHOICES * most:
            break
        places = np.append(columns, len(coef))
        ((before,),) = target.objectives(point, target.loss)
        point = np.array(point)
        point[places], left = approach(target.among(columns, point), point[places], 0.0)
        left += before - target.objectives(point, target.loss)[0, 0]  # further ones may gain as much again
    return point, left


def with_zeros(target, parameters):
    """The parameters with those coefficients at zero that are too small for the objective to tell."""
    size = np.abs(parameters[:-1]) / np.sqrt(np.maximum(target.geometry.metric[1, :-1], np.finfo(np.float64).tiny))
    limits = np.append(0.0, size.max() * 2.0 ** np.arange(-20, 0))
    candidates = np.where(np.append(size, np.inf) > limits[:, None], parameters, 0.0)
    (values,) = target.objectives(candidates, target.loss)
    return candidates[np.flatnonzero(values <= values[0] + 0.1 * ENOUGH * target.unit)[-1]]


def shortfall(target, parameters, gradient, tolerated):
    """What is left to gain: for a loss that grows like a square, from the gradient and the rows' mean curvature.

    A loss that goes on straight is rounded so narrowly that the rounding costs less than is `tolerated`, and read.
    """
    if not is_straight(target.loss):
        curvature = target.loss.curvature
        if target.loss != SQUARED_ERROR:
            residual, weight = target.residuals(parameters)
            curvature = max(weight @ bend(target.loss, residual) / weight.sum(), DAMPINGS[0] * target.curvature)
        return 0.5 * (np.sum((gradient[:-1] @ target.geometry.whitening) ** 2) + gradient[-1] ** 2) / curvature
    residual, weight = target.residuals(parameters)
    width = target.width(parameters)
    for _ in range(NARROWINGS):
        loss = target.rounded(width)
        lost = loss_and_slope(target.loss, residual)[0] - loss_and_slope(loss, residual)[0]
        rounding = weight @ lost / weight.sum()
        if rounding <= 0.5 * tolerated:
            break
        width *= 0.5
    basis = target.geometry.whitening
    ((_, expected),) = smooth_steps(target, parameters, basis, DAMPINGS[2:3], *target.read(parameters, basis, loss))
    return rounding + expected


def finish(problem, parameters, promise, hastily=False):
    """Look whether a descent has come as near to its minimum as promised, and go there if not; l1 norms end on exact zeros.

    Parameters
    ----------
    problem : Problem
    parameters : ndarray of shape (n_targets, n_features + 1)
        Where the descent has ended; the intercept is taken at the center.
    promise : float
        The excess that is left alone, as a share of what the best constant prediction loses by not being the minimum; inf
        after a descent that was not to arrive.
    hastily : bool
        Make one proximal step for the zeros and nothing else.

    Returns
    -------
    parameters : ndarray
        None of higher objective than before, but for rounding.
    excess : ndarray of shape (n_targets,)
        What is still to be gained, in the unit of the promise.
    """
    ends, excess = parameters.copy(), np.zeros(len(parameters))
    for k, start in enumerate(parameters):
        target = Target(problem.whole if problem.whole and problem.geometries[k].is_doubtful else problem, k)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            if hastily:
                ends[k] = proximal_steps(target, start, 1)[0] if target.penalty.l1 > 0.0 else start
            else:
                ends[k], excess[k] = finish_target(target, start, promise)
    return ends, excess


def finish_target(target, start, promise):
    """The same for one target."""
    has_l1, is_narrow = target.penalty.l1 > 0.0, not target.rows.is_wide
    constant = np.append(np.zeros(len(start) - 1), target.constant)
    if target.unit == 0.0:  # all targets are zero
        return constant, 0.0
    value, gradient = target.look(start, target.loss)
    if not value <= target.constant_loss:
        start = constant
        value, gradient = target.look(start, target.loss)

    def share(gained):
        reach = max(target.constant_loss - value + gained, ENOUGH * target.unit)
        return gained / reach if np.isfinite(reach) else np.inf

    tolerated = min(promise, 1.0) * (target.constant_loss - value)
    if is_narrow and not has_l1 and share(shortfall(target, start, gradient, tolerated)) <= promise:
        return start, 0.0
    if is_narrow:
        end, excess = approach(target, start, 0.0 if has_l1 else 0.25 * tolerated)
        return (with_zeros(target, end) if has_l1 and is_straight(target.loss) else end), share(excess)
    if has_l1:
        end = start
        for _ in range(ROUNDS if promise < np.inf else 1):
            end, gained = proximal_steps(target, end, PROXIMAL_STEPS)
            if share(gained) <= promise:
                break
        if promise == np.inf:
            return end, 0.0
        end, left = approach_by_columns(target, end, 0.5 * tolerated, TAIL * max(gained, 0.0))
        return end, share(left)
    end, width, left = start, target.width(start), np.inf
    for _ in range(ROUNDS):
        end, gained, left = conjugate_gradients(target, end, 0.01 * tolerated, width)
        if share(gained) <= 0.1 * promise:
            if share(left) <= promise or target.rounded(width) == target.loss:
                break
            width *= NARROWER
    if target.objectives(end, target.loss)[0, 0] > value:
        end = start
    return end, share(left)
