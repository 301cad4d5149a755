"""The estimator: its parameters, what it accepts, and how fit and partial_fit set a descent going."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array, issparse
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from skgd._callbacks import CallbackSupportMixin, Watch, with_callbacks
from skgd._descent import Divergence, descend
from skgd._objective import LOSSES
from skgd._plan import hold_out, make_problem, make_schedule, measured, measured_stream, note_level, plain_safe_step
from skgd._reading import finish
from skgd._reference import AVERAGE, COEF, VELOCITY
from skgd._rows import Rows
from skgd._sklearn import Interval, StrOptions, _fit_context, validate_parameter_constraints
from skgd._step_size import SCHEDULES
from skgd._stopping import Best
from skgd._validation import check_parameters, check_start, check_weight, unchanged_on_error, warn

Table = Any  # an array, a sparse matrix or a data frame
PATHS = "coef_path_", "intercept_path_", "loss_path_"
NOT_OF_THE_DESCENT = {"max_iter", "warm_start", "record_steps", "random_state", "verbose"}


@dataclass
class State:
    """What a later call goes on from."""

    parameters: np.ndarray  # (n_targets, 3, n_features + 1), the user's units: coef, velocity, average; the intercept last
    factor: np.ndarray  # (n_targets,), of the step: what plateaus have made of it
    seed: int  # of all orders to come
    n_passes: int = 0
    n_steps: int = 0
    stream: tuple | None = None  # a Stream's fields, once "auto" has seen rows
    steepness: tuple = (0.0, 0.0)  # of a stream's losses: sums of their slopes and of the residuals, fading
    level: np.ndarray | None = None  # (n_targets,): a stream's usual loss
    plateau: tuple = (None, None)  # of a fit that max_iter has ended: its best objectives, and for how long they stand
    best: tuple | None = None  # with early stopping: the parameters that scored best, and their scores
    key: tuple = ()  # what the last fit was about: the same again goes on with its plateau


class MiniBatchLinearRegressor(CallbackSupportMixin, RegressorMixin, BaseEstimator):
    r"""Linear regression by batch, mini-batch or stochastic gradient descent.

    Minimises, over the coefficients w and the intercept b::

        F(w, b) = (1/S) sum_i s_i l(y_i, x_i.w + b) + alpha * R(w)        S = sum_i s_i

    by steps w <- w - eta * D g, where g is the gradient of F estimated from `batch_size` rows. For the squared error
    l = (y - yhat)^2, **without a half**, so one step over a batch B of b rows is::

        w <- w - eta * D ((2/b) sum_B s_i (yhat_i - y_i) x_i + alpha * R'(w))

    with l' in the place of 2 (yhat_i - y_i) for other losses. The intercept is not penalised. D is the identity for the plain
    schedules; with learning_rate="auto" it undoes the units and the correlations of the columns (see Notes).

    Parameters
    ----------
    batch_size : int or None, default=32
        Rows in a step. None takes all rows (batch descent), 1 one row (stochastic descent), anything between is
        mini-batch descent; a number of n_samples or more is the full batch.
    loss : {"squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive", "quantile"}, default="squared_error"
        The loss l of one row with residual r = yhat - y:

        - "squared_error": ``r^2``
        - "huber": ``r^2`` where ``|r| <= epsilon``, ``2 * epsilon * |r| - epsilon^2`` beyond
        - "epsilon_insensitive": ``max(|r| - epsilon, 0)``
        - "squared_epsilon_insensitive": ``max(|r| - epsilon, 0)^2``
        - "quantile": ``-quantile * r`` where r < 0, ``(1 - quantile) * r`` beyond
    epsilon : float, default=0.1
        Threshold of the losses that have one, in units of y.
    quantile : float, default=0.5
        The quantile of y given x that loss="quantile" predicts; 0.5 is the median.
    penalty : {"l2", "l1", "elasticnet"} or None, default="l2"
        The penalty R: ``||w||^2 / 2``, or ``||w||_1``, or l1_ratio times the second plus 1 - l1_ratio times the first. The
        l1 norm acts by proximal steps, which make exact zeros. An average of steps has no zeros, so `fit` under
        learning_rate="auto" ends with steps on all rows that have. `partial_fit` returns the average as it is.
    alpha : float, default=0.0
        Strength of the penalty, whatever batch_size and n_samples; 0 is no penalty. At the optimum of the squared error the
        same as Ridge(alpha=n_samples * alpha / 2), Lasso(alpha=alpha / 2), ElasticNet(alpha=alpha / 2).
    l1_ratio : float or None, default=0.15
        Share of the l1 norm in "elasticnet"; may be None for other penalties.
    fit_intercept : bool, default=True
    learning_rate : {"auto", "constant", "invscaling", "optimal", "adaptive"}, default="auto"
        The step size eta at step t = 1, 2, ...

        - "auto": the largest safe constant step, found from the data together with D, divided by 3 after each epoch that
          made no progress. It is shorter for a short last batch, so that all rows count alike. Needs no scaling of the columns
          and no `eta0`, and does not diverge.
        - "constant": eta0
        - "invscaling": eta0 / t**power_t
        - "optimal": 1 / (alpha * (t0 + t - 1)), with SGDRegressor's t0; needs alpha > 0
        - "adaptive": eta0, divided by 5 each time the stopping rule fires, until it is below 1e-6
    eta0 : float, default=0.01
        Step size of the plain schedules, in units of 1 / (curvature of F).
    power_t : float, default=0.25
        Exponent of "invscaling".
    momentum : float, default=0.0
        Share m of its last displacement v that a step keeps: v <- m * v - eta * D g, w <- w + v. As in MLPRegressor, for any
        batch_size. Under "auto" eta is multiplied by 1 - m. On wide sparse X a step then costs all columns.
    nesterovs_momentum : bool, default=False
        Whether to add m * v - eta * D g with the new v in place of v (Nesterov's).
    average : "auto", bool or int, default="auto"
        Whether `coef_` is an average over the steps. True: their mean. An int a: the mean from step a on. "auto": with
        learning_rate="auto" and fewer than all rows in a step, an average that weighs step t by about t^3 and so forgets
        the start; else none.
    max_iter : int, default=1000
        Maximum number of epochs (passes over the rows) of `fit`.
    tol : float or None, default=1e-4
        `fit` stops once the objective has not fallen by more than `tol` times the loss of the best constant prediction in
        each of `n_iter_no_change` epochs in a row. For the squared error that is in units of R^2, whatever the units of y;
        losses that grow linearly are compared with the loss of the median residual. None runs all epochs, and "auto" then
        keeps its step.
    n_iter_no_change : int, default=5
        Epochs without progress before `fit` stops. "auto" counts 20 steps as an epoch where an epoch has fewer and they are
        noisy.
    shuffle : bool, default=True
        Whether the rows are visited in a new random order in each epoch.
    early_stopping : bool, default=False
        Whether to hold out rows, watch R^2 on them in place of the objective, and restore the parameters that scored best.
    validation_fraction : float, default=0.1
        Share of the rows held out by early_stopping; two rows at least, since R^2 needs them.
    record_steps : bool, default=False
        Whether to keep the loss and the parameters of every step in `loss_path_`, `coef_path_` and `intercept_path_`.
    warm_start : bool, default=False
        Whether `fit` goes on from where the last one ended: 5 epochs and 5 more on the same rows are one fit of 10, with any
        tol, penalty, schedule or early stopping.
    random_state : int, RandomState instance or None, default=None
        Of the order of the rows and of the rows held out. An int makes fits repeatable.
    verbose : int, default=0
        1 prints a line for each epoch.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        In the units of the columns given. Of X's precision, or float64 where float32 cannot hold them.
    intercept_ : float or ndarray of shape (n_targets,)
    n_iter_ : int
        Epochs made by the last `fit`, plus one for each `partial_fit` since.
    n_steps_ : int
        Updates of the parameters since the start.
    step_size_ : float or ndarray of shape (n_targets,)
        The last step size.
    loss_curve_ : ndarray of shape (n_epochs,)
        The objective as each epoch saw it: the mean over its mini-batches of the loss before the step, plus the penalty. (On
        wide sparse X the penalty is computed once in some thousand steps.) The mean over the targets if there are several.
    validation_scores_ : ndarray of shape (n_epochs,)
        R^2 on the rows held out, with early_stopping.
    coef_path_ : ndarray of shape (n_steps + 1, n_features) or (n_steps + 1, n_targets, n_features)
        The start, then the coefficients after each step (not their average), with record_steps; where recording began later,
        from there on.
    intercept_path_ : ndarray of shape (n_steps + 1,) or (n_steps + 1, n_targets)
    loss_path_ : ndarray of shape (n_steps,)
        The objective on each step's batch, before the step.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)

    See Also
    --------
    sklearn.linear_model.LinearRegression : Exact, and faster if the columns are few.
    sklearn.linear_model.SGDRegressor : One row a step, on columns that must be scaled first.

    Notes
    -----
    scikit-learn's SGD halves the squared error and huber: SGDRegressor(eta0=h, alpha=a, learning_rate="constant") takes the
    steps of MiniBatchLinearRegressor(1, eta0=h / 2, alpha=2 * a, learning_rate="constant"). The epsilon-insensitive losses
    carry no half there either: the same numbers.

    Several targets are independent problems that share the order of the rows; the descent ends when each has reached its
    plateau.

    learning_rate="auto" takes its steps in columns that are centred, scaled to deviation 1 and, where correlation makes some
    directions slow, stretched along those: D = S (I + sum_k gain_k q_k q_k') S with S = diag(1 / sigma_j) and q_k eigenvectors
    of the standardised covariance. It returns coefficients in the user's units; the minimum is not moved. The step is
    1 / L(b), the expected smoothness [1]_ of b out of n rows::

        L(b) = n(b-1) / (b(n-1)) * L + (n-b) / (b(n-1)) * L_max

    with L the curvature of the mean loss and L_max that of the longest row. For losses that grow linearly, the mean slope over
    the median residual of the best constant prediction takes the place of the curvature, which makes the step free of the units
    of y and of a few wild targets.

    A `fit` under "auto" that reaches a plateau ends with one more pass over the rows. If the gradient says that the objective
    can still fall by more than 10 * tol (tol for the full batch) of what a constant prediction loses, further steps are made,
    each the minimum of a damped quadratic model and taken only if the objective falls. If that does not help either, a
    ConvergenceWarning says how much is missing. Such a fit never ends above the best constant prediction.

    `partial_fit` standardises by running means and covariances (variances for more than 200 columns); while fewer than 10 rows
    of a stream have been seen, only the intercept moves. Rows and batches unlike all before change little; see the user guide.

    Sparse X of up to 1000 columns, or with more than a quarter of its entries not zero, is unpacked block by block and treated
    as dense. In wider X, scales are rounded to powers of two, only columns whose mean is more than a deviation from zero are
    centred (in a copy), and correlations are not corrected.

    References
    ----------
    .. [1] R. M. Gower, N. Loizou, X. Qian, A. Sailanbayev, E. Shulgin, P. Richtarik, "SGD: General Analysis and Improved
       Rates", ICML 2019, arXiv:1901.09401.
    .. [2] O. Shamir, T. Zhang, "Stochastic Gradient Descent for Non-smooth Optimization: Convergence Results and Optimal
       Averaging Schemes", ICML 2013, arXiv:1212.1824. The average of "auto", with eta = 3.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skgd import MiniBatchLinearRegressor
    >>> X, y = load_diabetes(return_X_y=True, scaled=False)
    >>> model = MiniBatchLinearRegressor(random_state=0).fit(X, y)
    >>> round(model.score(X, y), 2)
    0.52
    """

    # In a notebook each parameter shows its documentation, if there is a link to go with it: to the place itself.
    _doc_link_module = "skgd"
    _doc_link_template = "#"

    _parameter_constraints: ClassVar = {
        "batch_size": [Interval(Integral, 1, None, closed="left"), None],
        "loss": [StrOptions(set(LOSSES))],
        "epsilon": [Interval(Real, 0, None, closed="left")],
        "quantile": [Interval(Real, 0, 1, closed="neither")],
        "penalty": [StrOptions({"l2", "l1", "elasticnet"}), None],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "l1_ratio": [Interval(Real, 0, 1, closed="both"), None],
        "fit_intercept": ["boolean"],
        "learning_rate": [StrOptions({"auto", *SCHEDULES})],
        "eta0": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "nesterovs_momentum": ["boolean"],
        "average": [StrOptions({"auto"}), "boolean", Interval(Integral, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left"), None],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "record_steps": ["boolean"],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }
    _shaping = frozenset(_parameter_constraints) - NOT_OF_THE_DESCENT

    def __init__(
        self,
        batch_size: int | None = 32,
        *,
        loss: str = "squared_error",
        epsilon: float = 0.1,
        quantile: float = 0.5,
        penalty: str | None = "l2",
        alpha: float = 0.0,
        l1_ratio: float | None = 0.15,
        fit_intercept: bool = True,
        learning_rate: str = "auto",
        eta0: float = 0.01,
        power_t: float = 0.25,
        momentum: float = 0.0,
        nesterovs_momentum: bool = False,
        average: str | bool | int = "auto",
        max_iter: int = 1000,
        tol: float | None = 1e-4,
        n_iter_no_change: int = 5,
        shuffle: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        record_steps: bool = False,
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.batch_size = batch_size
        self.loss = loss
        self.epsilon = epsilon
        self.quantile = quantile
        self.penalty = penalty
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.learning_rate = learning_rate
        self.eta0 = eta0
        self.power_t = power_t
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.average = average
        self.max_iter = max_iter
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.shuffle = shuffle
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.record_steps = record_steps
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Table,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        coef_init: ArrayLike | None = None,
        intercept_init: ArrayLike | None = None,
    ) -> Self:
        """Descend from the start, or with warm_start=True from where the last call ended.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            float64 and float32 are used as they are if C-ordered or CSR; anything else is copied once. Rows of weight 0 are
            never read.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
        sample_weight : array-like of shape (n_samples,), optional
            Scaled to mean 1: multiplying all weights by one number changes nothing.
        coef_init : array-like of shape (n_features,) or (n_targets, n_features), optional
            Where the coefficients start; default zero.
        intercept_init : float or array-like of shape (n_targets,), optional
            Where the intercept starts; default the best constant prediction under learning_rate="auto", else zero.

        Returns
        -------
        MiniBatchLinearRegressor
            The estimator itself.

        Raises
        ------
        ValueError
            If the input is not usable, or if the descent diverges: the estimator is then what it was before the call.
        """
        watch = Watch(self, X=X, y=y, metadata=None if sample_weight is None else {"sample_weight": sample_weight})
        with unchanged_on_error(self):
            go_on = self.warm_start and hasattr(self, "_state") and coef_init is None and intercept_init is None
            rows, state = self._begin(X, y, sample_weight, go_on)
            score = None
            if self.early_stopping:
                rows, score = hold_out(self, rows, state.seed)
            problem, state.stream = measured(self, make_problem(self, rows.with_mean_weight_1()))
            state.stream = state.stream and tuple(state.stream)
            self._resume(state, problem)
            if not go_on:
                self._set_start(state, problem, coef_init, intercept_init)
            history = self._descend(problem, state, watch, self.max_iter, score)
            self.n_iter_, self.loss_curve_ = len(history.objective), np.mean(history.objective, axis=1)
            self.__dict__.pop("validation_scores_", None)
            if self.early_stopping:
                self.validation_scores_ = np.mean(history.score, axis=1)
            watch.end_fit()
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Table, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Make one pass over the rows given, in mini-batches of `batch_size`, from where the model stands.

        With batch_size=None the call is exactly one step: the rows given are the mini-batch. With shuffle=False, calls with
        multiples of batch_size rows take the same steps as one epoch of `fit` over all of them (of a plain schedule; "auto"
        knows more in `fit`). Weights are taken as they are: a row of weight 2 pulls twice. Callbacks watch `fit` alone.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        MiniBatchLinearRegressor
            The estimator itself.

        Raises
        ------
        ValueError
            If the input is not usable, or if the step diverges: the estimator is then what it was before the call.
        """
        with unchanged_on_error(self):
            if self.early_stopping:
                warn("early_stopping=True has no effect in partial_fit: one pass has no epochs to stop between.")
            go_on = hasattr(self, "_state")
            if go_on:  # scikit-learn looks at the parameters of a first call only
                validate_parameter_constraints(self._parameter_constraints, self.get_params(deep=False), type(self).__name__)
            rows, state = self._begin(X, y, sample_weight, go_on)
            problem = measured_stream(self, make_problem(self, rows), state)
            if not go_on:
                self._set_start(state, problem)
            history = self._descend(problem, state, Watch(self))
            self.n_iter_ = getattr(self, "n_iter_", 0) + 1
            self.loss_curve_ = np.append(getattr(self, "loss_curve_", []), np.mean(history.objective))
        return self

    def predict(self, X: Table) -> np.ndarray:
        """The predictions X w + b.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_targets)
        """
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=[np.float64, np.float32], reset=False)
        return X @ self.coef_.T + self.intercept_

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.input_tags.sparse = True
        return tags

    def _begin(self, X, y, sample_weight, go_on):
        """Check everything given; the state to work on is the model's own or an empty one."""
        check_parameters(self)
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse="csr",
            dtype=[np.float64, np.float32],
            order="C",
            multi_output=True,
            y_numeric=True,
            reset=not go_on,
        )
        X = compressed(X) if issparse(X) else np.require(X, requirements="CA")
        single = y.ndim == 1
        y = np.require(np.atleast_2d(y.T), np.float64, "CA")
        rows = Rows.of(X, y, check_weight(sample_weight, X.shape[0]))
        if go_on:
            n_targets = len(self._state["parameters"])
            if len(y) != n_targets:
                raise ValueError(f"y has {len(y)} targets, but the model has {n_targets}. Fit a new model for another number.")
            fields = {name: np.copy(value) if name == "parameters" else value for name, value in self._state.items()}
            if not self.fit_intercept:
                fields["parameters"][:, :, -1] = 0.0
            return rows, State(**fields)
        for name in ("validation_scores_", "n_iter_", "loss_curve_", *PATHS):
            self.__dict__.pop(name, None)
        self._single_target = single
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        return rows, State(np.zeros((len(y), 3, X.shape[1] + 1)), np.ones(len(y)), seed)

    def _resume(self, state, problem):
        """Go on with the last fit's plateau, if this one is about the same."""
        values = [value for name, value in vars(self).items() if name in self._shaping]
        key = (*values, len((problem.whole or problem).rows), *problem.constant, *problem.constant_loss)
        if state.key != key:
            state.key, state.plateau, state.best, state.factor = key, (None, None), None, np.ones(len(problem.constant))

    def _set_start(self, state, problem, coef_init=None, intercept_init=None):
        """Zero, or what the user gives; "auto" starts the intercept at the best constant prediction at the columns' means."""
        n_targets, n_features = len(problem.constant), problem.rows.n_features
        start = np.zeros((n_targets, n_features + 1))
        if coef_init is not None:
            start[:, :-1] = check_start("coef_init", coef_init, (n_targets, n_features), self._single_target)
        if intercept_init is not None:
            if not self.fit_intercept:
                raise ValueError("intercept_init is given, but fit_intercept=False fixes the intercept at 0. Leave one out.")
            start[:, -1] = check_start("intercept_init", intercept_init, (n_targets,), self._single_target)
        elif self.learning_rate == "auto":
            start[:, -1] = problem.constant - start[:, :-1] @ problem.center
        state.parameters[:, [COEF, AVERAGE]] = start[:, None]

    def _descend(self, problem, state, watch, max_iter=None, score=None):
        """Descend from the state, for one pass or up to max_iter, and publish where it ends."""
        in_fit = max_iter is not None
        schedule, plateau = make_schedule(self, problem, state, in_fit)
        center, kept = problem.center, AVERAGE if schedule.average else COEF
        parameters = np.zeros((len(problem.constant), 5, problem.rows.n_features + 1))
        parameters[:, :3] = moved_to(state.parameters, center)
        watch.fitted = lambda parameters: self._fitted(moved_to(parameters[:, kept], -center), problem)
        best = Best(*(state.best or (state.parameters[:, kept],)))

        def judge(parameters):
            scores = score(parameters[:, kept], center)
            best.observe(moved_to(parameters[:, kept], -center), scores)
            return scores

        try:
            with np.errstate(over="ignore", invalid="ignore"):
                history = descend(
                    problem,
                    parameters,
                    schedule,
                    state.n_steps,
                    range(state.n_passes, state.n_passes + (max_iter or 1)),
                    state.seed if self.shuffle else None,
                    plateau,
                    watch,
                    score and judge,
                    self.record_steps,
                )
        except Divergence as divergence:
            raise self._explained(divergence, problem) from None
        parameters[:, AVERAGE] = parameters[:, kept]
        if in_fit:
            state.factor, state.level, state.steepness = schedule.factor, history.objective[-1], (0.0, 0.0)
            state.plateau = (None, None) if history.converged else (plateau.best, plateau.waited)
            state.best = (best.parameters, best.score) if score else None
        elif self.learning_rate == "auto":
            note_level(state, history.objective[-1], len(problem.rows))
        state.n_passes += len(history.objective)
        state.n_steps += len(history.objective) * problem.n_batches
        end, excess = moved_to(best.parameters, center) if score else parameters[:, AVERAGE], 0.0
        if in_fit and self.learning_rate == "auto":
            end, excess = self._finish(problem, parameters, end, history.converged)
        state.parameters = moved_to(parameters[:, :3], -center)
        self._publish(state, moved_to(end, -center), schedule, history, problem)
        if in_fit:
            self._warn_if_poor(history, schedule, problem, excess)
        return history

    def _finish(self, problem, parameters, end, converged):
        """Where the fit ends if it has descended to `end`, and what is left to gain there.

        A later call goes on from there, too, but not from zeros that the descent did not make.
        """
        if not converged and problem.penalty.l1 == 0.0:
            return end, 0.0
        end, excess = finish(problem, end, self._promise(problem) if converged else np.inf, hastily=self.early_stopping)
        if problem.penalty.l1 == 0.0 and not self.early_stopping:
            parameters[:, [COEF, AVERAGE]], parameters[:, VELOCITY] = end[:, None], 0.0
        return end, excess

    def _promise(self, problem):
        """The excess over the minimum that a descent to a plateau leaves at most, as a share of what a constant leaves."""
        noise = 1.0 if problem.batch_size == len(problem.rows) else 10.0
        return max(noise * (self.tol or 0.0), 1e-6)

    def _publish(self, state, end, schedule, history, problem):
        """Set the attributes that fit and partial_fit have in common."""
        self._state = vars(state)
        self.n_steps_ = state.n_steps
        self.__dict__.update(self._fitted(end, problem))
        self.step_size_ = self._per_target(schedule.length(max(state.n_steps, 1.0)))
        if not self.record_steps:
            for name in PATHS:
                self.__dict__.pop(name, None)
        else:
            path = moved_to(np.array(history.path), -problem.center)
            before = hasattr(self, "loss_path_")
            self.loss_path_ = np.append(self.loss_path_ if before else [], np.mean(history.step_objective, axis=1))
            for name, part in ("coef_path_", path[..., :-1]), ("intercept_path_", path[..., -1]):
                part = part[:, 0] if self._single_target else part
                setattr(self, name, np.concatenate([getattr(self, name), part[1:]]) if before else part)

    def _fitted(self, parameters, problem):
        """What predict needs: in X's precision, if that can hold it."""
        dtype = (problem.whole or problem).rows.X.dtype
        if np.abs(parameters).max() > np.finfo(dtype).max:
            dtype = np.float64
        return {
            "coef_": self._per_target(parameters[:, :-1].astype(dtype)),
            "intercept_": self._per_target(parameters[:, -1].astype(dtype)),
        }

    def _per_target(self, values):
        """`values` with an entry for each target, or its only entry if y was one-dimensional."""
        return values[0] if self._single_target else values

    def _step_names(self):
        """The parameter that sets the step, and how to make the step longer and shorter."""
        if self.learning_rate == "optimal":
            return "alpha", "lower alpha", "raise alpha"
        return "eta0", "raise eta0", "lower eta0"

    def _explained(self, divergence, problem):
        epoch, eta = divergence.args
        if self.learning_rate == "auto":
            return ValueError("The numbers in X and y are too large or too small for float64. Rescale them by powers of ten.")
        given, _, cure = self._step_names()
        return ValueError(
            f"learning_rate={self.learning_rate!r} with {given}={getattr(self, given):g} diverged in epoch {epoch} at step "
            f"size {eta:.3g}; the largest step that is safe for this data with batch_size={self.batch_size} is about "
            f"{plain_safe_step(self, problem):.2g}. Use learning_rate='auto', standardise the columns, or {cure}. The model is "
            f"what it was before."
        )

    def _warn_if_poor(self, history, schedule, problem, excess):
        """Say so if the descent ended before its plateau, or on one that is not the minimum."""
        last = history.objective[-1]
        if history.interrupted:
            return
        if not history.converged and self.tol is not None:
            recent = np.array(history.score or history.objective)[-self.n_iter_no_change - 1 :]
            unit = 1.0 if history.score else np.where(problem.unit > 0.0, problem.unit, 1.0)
            change = np.max(np.abs(recent[0] - recent[-1]) / unit)
            seen = f"over the last {len(recent)} epochs R^2 still changed by {change:.1e}, against tol={self.tol:g}"
            message = (
                f"max_iter={self.max_iter} ended the descent before it reached a plateau"
                + (f": {seen}. Raise max_iter or tol" if len(recent) > 1 else ". Raise max_iter")
                + (", or use learning_rate='auto'." if self.learning_rate != "auto" else ".")
            )
        elif np.any(excess > max(self._promise(problem), problem.rows.n_features / len(problem.rows) / 4)):
            message = (
                f"The descent ended on a plateau, but the gradient there says that the objective can still fall by about "
                f"{np.max(excess):.1e} of what a constant prediction leaves. The columns are too nearly dependent, or a few "
                f"rows too far from all others, for steps to get there. Drop such columns or rows, add a penalty, or use "
                f"batch_size=None."
            )
        elif self.learning_rate == "auto" and history.score and np.any(np.max(history.score, axis=0) < 0.0):
            message = (
                f"R^2 on the held-out rows is {np.min(np.max(history.score, axis=0)):.2g}: a constant predicts them better. "
                f"The columns say nothing of y, or the {len(problem.rows)} rows that are left to learn from are too few: set "
                f"early_stopping=False, or give more rows."
            )
        elif self.learning_rate != "auto" and self.tol is not None and np.any(last > problem.constant_loss):
            safe = plain_safe_step(self, problem)
            given, raised, lowered = self._step_names()
            too, cure = ("long", lowered) if np.max(schedule.length(self.n_steps_)) > safe else ("short", raised)
            message = (
                f"The descent ended at an objective of {np.mean(last):.3g}, above the {np.mean(problem.constant_loss):.3g} of "
                f"a constant prediction: with {given}={getattr(self, given):g} its steps are too {too}. The largest that is "
                f"safe for this data with batch_size={self.batch_size} is about {safe:.2g}. Use learning_rate='auto', "
                f"standardise the columns, or {cure}."
            )
        else:
            return
        warn(message, ConvergenceWarning)


def moved_to(parameters, center):
    """Parameters whose intercept was taken at some place, with it taken `center` from there."""
    moved = np.array(parameters)
    moved[..., -1] += moved[..., :-1] @ center
    return moved


def compressed(X):
    """CSR with arrays as the engine takes them: without repeated entries, contiguous, and no longer than they need be."""
    if not X.has_canonical_format:
        X = X.copy()  # the caller's stays as it is
        X.sum_duplicates()
    data, indices, starts = (np.require(part, requirements="CA") for part in (X.data, X.indices, X.indptr))
    if not (data is X.data and indices is X.indices and starts is X.indptr and len(data) == starts[-1]):
        X = csr_array((data, indices, starts), shape=X.shape)  # which drops what is too long
    return X
