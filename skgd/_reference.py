"""The pass over mini-batches in plain NumPy: the specification of the compiled kernel, and what runs where none was built.

The parameters of a target are rows of one array of shape (4, n_features + 1): coef, velocity, average and gradient, of which
the last is scratch space. The last column is the intercept c, the prediction at the center: a prediction is (x - center).w + c.

A metric is an array of shape (2, n_features + 1) that says how parameters are measured while they descend: the center of each
column, and the scale of each parameter, zero for one that must not move. Steps go along D g, where g is the gradient and
D = diag(scale).
"""

import numpy as np
from scipy.sparse import csr_array

from skgd._objective import Loss, Penalty, loss_and_slope, penalty_at, proximal

COEF, VELOCITY, AVERAGE, GRADIENT = range(4)

# One step: how far (eta), what bounds it (cap, ceiling), how it remembers (momentum, lookahead), how much of it is averaged.
# Heavy ball has lookahead 0; Nesterov's momentum m has lookahead m, and coef is then the point where it looks.
STEP = np.dtype([(name, np.float64) for name in ("eta", "cap", "ceiling", "momentum", "lookahead", "averaging")])


def descend(X, y, weight, order, batch_size, steps, metric, loss, penalty, targets, parameters, objectives):
    """Take one step per mini-batch of `order` and target, in place. Targets are independent problems.

    For each batch B of b rows, with weights s:

    1. residuals   r_i = (x_i - center).w + c - y_i
    2. gradient    g = (1/b) sum_B s_i l'(r_i) (x_i - center),    g_c = (1/b) sum_B s_i l'(r_i)
    3. objective   (1/b) sum_B s_i l(r_i) + penalty(w), before the step
    4. update      w <- w - eta * D (g + l2 * w) in its simplest form; see `update`

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features), float64 or float32, C-contiguous
    y : float64 ndarray of shape (n_targets, n_samples)
    weight : float64 ndarray of shape (n_samples,)
    order : int32 ndarray
        The rows to visit, in that order; every `batch_size` of them are a batch, the last may be short.
    batch_size : int
    steps : STEP ndarray of shape (len(targets), n_batches)
    metric : ndarray of shape (2, n_features + 1)
    loss, penalty : ndarrays of shape (4,) and (3,)
        The numbers of `Loss` and `Penalty`.
    targets : int32 ndarray
        The numbers of the targets to learn; the parameters of others are left as they are.
    parameters : ndarray of shape (n_targets, 4, n_features + 1), changed in place
    objectives : ndarray of shape (len(targets), n_batches), written
    """
    for k, rows in enumerate(batches(order, batch_size)):
        for t, target in enumerate(targets):
            arrays = y[target, rows], weight[rows], steps[t, k], metric, loss, penalty, parameters[target]
            objectives[t, k] = penalty_at(Penalty(*penalty), parameters[target, COEF, :-1])
            objectives[t, k] += take_step(X[rows], *arrays)


def descend_sparse(
    values, columns, starts, y, weight, order, batch_size, steps, metric, loss, penalty, targets, parameters, objectives
):
    """One step for each mini-batch of rows of a CSR matrix, without center; the objectives leave the penalty out.

    Scales must be powers of two or zero: the compiled pass keeps account of absent columns once for all of equal scale.
    """
    X = csr_array((values, columns, starts), shape=(len(starts) - 1, metric.shape[1] - 1))
    for k, rows in enumerate(batches(order, batch_size)):
        for t, target in enumerate(targets):
            arrays = y[target, rows], weight[rows], steps[t, k], metric, loss, penalty, parameters[target]
            objectives[t, k] = take_step(X[rows].toarray(), *arrays)


def batches(order, batch_size):
    """The rows of each batch."""
    return (order[start : start + batch_size] for start in range(0, len(order), batch_size))


def take_step(X, y, weight, step, metric, loss, penalty, parameters):
    """The step on one batch; its mean loss before."""
    coef, gradient = parameters[COEF], parameters[GRADIENT]
    z = X - metric[0, :-1]
    value, slope = loss_and_slope(Loss(*loss), z @ coef[:-1] + coef[-1] - y)
    part = weight / len(y)
    gradient[:-1], gradient[-1] = (part * slope) @ z, part @ slope
    mean_loss = part @ value
    update(step, mean_loss, metric, Penalty(*penalty), parameters)
    return mean_loss


def update(step, loss, metric, penalty, parameters):
    """Move the parameters against their gradient, take a proximal step, and let them enter their average.

    w <- shrink(w - eta * D (g + l2 * w))    shrink(w_j) = max(sign(w_j) * max(|w_j| - eta * D_jj * l1, 0), lowest)

    with the intercept penalised by neither norm. The step is cut so that eta * g'Dg <= cap * min(loss, ceiling), where g and
    the loss are those of the batch without the penalty. With cap 2, no step overshoots a quadratic loss with minimum 0. A batch
    whose loss is above the ceiling moves the parameters less the larger its loss is. With momentum m, v is the last
    displacement. The heavy ball steps from w + m * v; with Nesterov's momentum, w is already the point m * v ahead, and the
    step starts there.
    """
    coef, velocity, average, gradient = parameters
    scale, eta, bound = metric[1], step["eta"], min(loss, step["ceiling"])
    norm = scale * gradient @ gradient
    if norm > 0.0 and eta * norm > step["cap"] * bound:
        eta = step["cap"] * bound / norm
    gradient[:-1] += penalty.l2 * coef[:-1]
    ahead = step["lookahead"]
    before = coef - ahead * velocity
    now = coef + (step["momentum"] - ahead) * velocity - eta * (scale * gradient)
    if penalty.makes_zeros:
        now[:-1] = proximal(now[:-1], eta * scale[:-1] * penalty.l1, penalty.lowest)
    if step["momentum"] != 0.0:
        velocity[:] = now - before
        now += ahead * velocity
    coef[:] = now
    if step["averaging"] != 0.0:
        average += step["averaging"] * (coef - average)


def shuffle(order, seed):
    """Permute `order` in place; the permutation is a function of its length and the seed (another than the kernel's)."""
    np.random.default_rng(seed).shuffle(order)
