"""Streams of every loss but the squared error: a quadratic model of past rows, the latest rows, and the minimum over both.

With A and b the sums of the model (see _past_rows.py), the parameters v of a stream minimise

    (v'Av / 2 - b.v + sum_latest s_i l_h(x_i.v - y_i)) / S + R(v)

where the kinks of the loss are smoothed over a width h. The damped Newton method (_newton.py) finds the minimum. No chunk
makes it diverge, since fully damped steps cannot raise this objective. Then the latest rows are added to A and b, and dropped.
The first rows are kept longer, until the minimum over them is accurate enough to expand the loss around it.
"""

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from skgd._damped_newton import DampedNewton
from skgd._geometry import ROWS_PER_ESTIMATE
from skgd._latest_rows import LatestRows, longest_half_life
from skgd._newton import Newton
from skgd._objective import loss_and_slope, penalty_at
from skgd._past_rows import PastRows, TargetOfStream, expansion_at, model_at_minimum
from skgd._quadratic import FRACTIONS, MOST_STEPS
from skgd._reading import targets_of
from skgd._residuals import Residuals
from skgd._rows import BLOCK
from skgd._stopping import LEAST_PROMISE, TIGHTER

FIRST_NUMBERS = 2**16  # numbers of X, half a megabyte, up to which a stream keeps its first rows and ends where a fit does
GROWTH = 1e-3  # share of new rows at which the minimum is found anew; 20 times it while all are kept (10 times is slower)
CHEAP_COLUMNS = 20  # up to here each row may bring a new minimum: it costs d^3, so with 500 columns it takes a hundred rows


Phase: TypeAlias = Literal["first rows", "model", "model of a fit", "fading rows", "lost"]


@dataclass(frozen=True)
class Renewable:
    """The state of a stream: the model of past rows, the latest rows, and what decides when a new minimum is due.

    - "first rows": all rows are kept, and there is no model. A fit of few rows ends here, too. `renewed` goes on to "model"
      once there are enough rows.
    - "model": each minimum leaves its rows behind in the model.
    - "model of a fit": the same after a fit of many rows, at whose exact minimum the model began.
    - "fading rows": with a short half-life, `renewed` comes here from any of the former. Rows are kept until they have faded.
      There is a model only if half_life was set after it began.
    - "lost": the parameters have learned from rows that are neither kept nor in the model, and partial_fit takes steps. This is
      so after a fit that ended elsewhere than at its minimum, once the objective changes while there is a model, and if an
      average asks for steps. There is no way back.
    """

    phase: Phase = "first rows"
    past: PastRows | None = None  # the model of the rows left behind
    n_rows: float = 0.0  # in the model
    latest: LatestRows = LatestRows()  # noqa: RUF009 (immutable)
    faded_at: float = 0.0  # the age at which the model was faded last
    residuals: Residuals = Residuals()  # noqa: RUF009 (immutable); at the last minimum
    waiting: float = 0.0  # rows since the last minimum; heavy ones and those of badly predicted chunks count for more
    objective: tuple | None = None  # the one that the rows were learned for: see `objective_of`

    @classmethod
    def after_fit(cls, problem, ends, objective):
        """The state of a stream that goes on from the minimum of a fit, with the Hessian there, on a sample of the rows.

        If the rows are too few for a reliable Hessian, they are kept themselves.
        """
        rows, n_parameters, n_rows = problem.rows.sampled, ends.shape[1], len(problem.rows)
        residuals = Residuals.at(problem, ends, problem.rows.representatives.effective_share)
        if n_rows <= min(n_first_rows(residuals.counting, n_parameters), len(rows)):
            return cls(latest=LatestRows(newest=rows).copied(), residuals=residuals, objective=objective)
        widths, weight = residuals.widths(n_parameters, len(rows)), problem.rows.total_weight
        squares = weight**2 / (residuals.effective_share * n_rows)
        past = model_at_minimum(replace(problem, rows=rows), ends, widths, weight, squares)
        return cls("model of a fit", past, float(n_rows), residuals=residuals, objective=objective)

    def for_objective(self, objective):
        """The state for rows of this objective; if the objective has changed, a new minimum is due.

        A model of past rows was made near the minimum of another objective: it is dropped, and its rows are lost.
        """
        if self.objective == objective:
            return self
        if self.objective is None:
            return replace(self, objective=objective)
        if self.past is not None or not self.latest:
            return Renewable("lost", objective=objective, waiting=np.inf)
        return replace(self, objective=objective, waiting=np.inf)

    def is_due(self, n_new, n_seen, d):
        """Whether to find the minimum anew; the last chunk brought `n_new` rows. d counts columns and targets.

        While all rows are kept, it costs several readings of them. It is due

        - at once for tiny tables, unless rows come one by one, and otherwise
        - after max(20 GROWTH n, (d / CHEAP_COLUMNS)^1.5) rows, where n is the number kept, or what a half-life leaves of them.

        Later it costs d^3. Of n rows seen, it is due after the least of

        - max(GROWTH n, (d / CHEAP_COLUMNS)^1.5) rows,
        - d rows,
        - GROWTH n^2 / d rows: w new rows move the minimum by about w d / n^2, in units of the noise.
        """
        n_kept, costly = len(self.latest), (d / CHEAP_COLUMNS) ** 1.5
        if self.latest and self.phase in ("first rows", "fading rows"):
            is_cheap = n_new > 1 and n_kept * d <= FIRST_NUMBERS // 32  # then it takes some milliseconds
            return is_cheap or self.waiting >= max(20.0 * GROWTH * min(n_kept, n_seen), costly)
        return self.waiting >= min(max(GROWTH * n_seen, costly), d, GROWTH * n_seen**2 / d)

    def with_rows(self, rows, n_new, loss, half_life):
        """The state after a chunk of this mean loss that counts as `n_new` rows: see `with_waiting`.

        While all rows are kept, a large loss makes a minimum due sooner.
        """
        waits = self.with_waiting(n_new, loss, self.residuals.reached if self.past is None else loss)
        return replace(waits, latest=self.latest.with_rows(rows, half_life))

    def with_waiting(self, n_new, loss, usual):
        """The state with `n_new` more rows of mean weight waiting; they count for more if their loss exceeds the usual one."""
        usual = np.broadcast_to(usual, loss.shape)
        worse = np.divide(loss, usual, out=np.where(loss > 0.0, np.inf, 1.0), where=usual > 0.0)
        return replace(self, waiting=self.waiting + max(1.0, float(np.max(worse))) * n_new)

    def renewed(self, problem, starts, half_life):
        """Find the minimum over all rows seen; returns the state of the stream there, and the minimum.

        The problem is that of the latest rows. Starts and the minimum have a row of parameters for each target; their
        intercepts are predictions at the problem's origin.
        """
        rows, factor = problem.rows, 0.5 ** (self.latest.age - self.faded_at)
        past = self.past and self.past.moved_to(problem.origin).faded(factor)
        n_seen = len(rows) + self.n_rows * factor
        if past is None:
            # A tenth of this promise takes a tenth longer; ten times as much may leave all that is promised in the model.
            ends, _ = DampedNewton.approach(targets_of(problem), starts, LEAST_PROMISE / TIGHTER**2)
        else:
            past, ends = self.later_minimum(problem, starts, past, n_seen, half_life < np.inf)
        residuals = self.residuals_at(problem, ends, past, n_seen)
        renewed = replace(self, waiting=0, faded_at=self.latest.age, residuals=residuals)
        are_first = past is None and len(rows) < n_first_rows(residuals.counting, ends.shape[1])
        if are_first or half_life <= longest_half_life(ends.shape[1]):
            phase = "first rows" if are_first else "fading rows"
            return replace(renewed, phase=phase, past=past, n_rows=n_seen - len(rows)), ends
        return renewed.left_behind(problem, ends, past, n_seen), ends

    def residuals_at(self, problem, ends, past, n_seen):
        """The Residuals at a new minimum: of the latest rows, and as moving means if there is a model of others."""
        rows = problem.rows
        total, squares = rows.total_weight, rows.weights @ rows.weights
        if past is not None:
            total, squares = total + past.weight, squares + past.squares
        latest = Residuals.at(problem, ends, min(1.0, total**2 / (n_seen * squares)))
        return latest if past is None else self.residuals.joined(latest, len(rows) / n_seen)

    def later_minimum(self, problem, starts, past, n_seen, forgets):
        """The model of past rows, scaled to what is credible if the stream `forgets`, and the minimum with the latest rows."""
        root, widths = np.sqrt(problem.geometries[0].metric.scales), self.residuals.widths(starts.shape[1], n_seen)
        for _ in range(MOST_STEPS):  # more than enough: if each halves the model, it fades by 1e12
            ends = starts.copy()
            for k, start in enumerate(starts):
                target = TargetOfStream(problem, k, widths[k], past)
                ends[k] = Newton(target, start, LEAST_PROMISE, target.loss).settle()
            credible = past.credible_at(ends, problem.loss, root) if forgets and problem.loss.grows_linearly else past
            if credible is past:
                break
            past = credible
        return past, ends

    def left_behind(self, problem, ends, past, n_seen):
        """The state with the latest rows added to the model, expanded around the minimum of the smoothed loss, and dropped."""
        weight, squares = problem.rows.total_weight, np.sum(problem.rows.weights**2)
        widths = self.residuals.widths(ends.shape[1], n_seen)
        if past is None:
            past = model_at_minimum(problem, ends, widths, weight, squares)
        else:
            targets = [TargetOfStream(problem, k, width, past) for k, width in enumerate(widths)]
            found = [expansion_at(target, end) for target, end in zip(targets, ends, strict=True)]
            past = PastRows.about(ends, problem.origin, weight, squares, *map(np.array, zip(*found, strict=True))) + past
        phase = self.phase if self.phase == "model of a fit" else "model"
        return replace(self, phase=phase, latest=self.latest.without_rows(), past=past, n_rows=n_seen)


def no_worse_than_constants(problem, parameters):
    """The parameters or, where the best constant does better on the latest rows, the best point on the line to it.

    For a stream of few rows, which keeps them all. The intercept is the prediction at the problem's origin.
    """
    rows, constants = problem.rows, problem.constant_parameters
    far, near = (rows.residuals(problem.published(each)) for each in (parameters, constants))
    values = [
        loss_and_slope(problem.loss, shrunk * far + (1.0 - shrunk) * near)[0] @ rows.weights / rows.total_weight
        + penalty_at(problem.penalty, shrunk * parameters[:, :-1])
        for shrunk in FRACTIONS
    ]
    shrunk = FRACTIONS[np.argmin(values, axis=0)]
    shrunk[(values[0] <= problem.constant_loss) | (shrunk == 1.0)] = 1.0
    shrunk[np.min(values, axis=0) > problem.constant_loss] = 0.0
    return constants + shrunk[:, None] * (parameters - constants)


def n_first_rows(counting, n_parameters):
    """How many first rows a stream keeps: more where a smaller share of them is `Residuals.counting`, up to two megabytes."""
    return max(min(FIRST_NUMBERS / counting, BLOCK) / n_parameters, ROWS_PER_ESTIMATE * n_parameters)
