"""The estimator: its parameters, fit, partial_fit and predict."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, issparse, sparray, spmatrix
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from skgd._advice import warn_if_poor, warn_of_epsilon
from skgd._callbacks import CallbackSupportMixin, Watch, with_callbacks
from skgd._chunks import Chunks, RowsInChunks
from skgd._descent import Passes
from skgd._fit import fit_rows, promise_of
from skgd._objective import LOSSES
from skgd._partial_fit import fit_chunk
from skgd._plan import epochs_of, hold_out
from skgd._reference import AVERAGE, COEF
from skgd._rows import Rows
from skgd._sklearn import CheckedParameters, Interval, StrOptions, fit_context, recheck
from skgd._state import State, moved_to
from skgd._step_size import SCHEDULES
from skgd._validation import (
    check_has_validation,
    check_parameters,
    check_sign,
    check_validation,
    check_weight,
    check_weighted,
    is_validation_given,
    unchanged_on_error,
    warn,
)
from skgd._version import DOCUMENTATION

Table: TypeAlias = ArrayLike | sparray | spmatrix  # data frames are ArrayLike
Request: TypeAlias = bool | str | None  # of metadata: see scikit-learn's metadata routing
OF_COLUMNS: dict[str, Any] = {"accept_sparse": "csr", "dtype": [np.float64, np.float32]}  # what X may be
PATHS = "coef_path_", "intercept_path_", "loss_path_"
ROUNDED = 1e-4  # deviations of y, which cost no promise: float32 may round predictions by as much


class MiniBatchLinearRegressor(CheckedParameters, CallbackSupportMixin, RegressorMixin, BaseEstimator):
    r"""Linear regression by batch, mini-batch or stochastic gradient descent.

    Minimises, over the coefficients w and the intercept b,

    .. math::

        F(w, b) = \frac{1}{S} \sum_i s_i \, l(y_i, x_i w + b) + \alpha R(w), \qquad S = \sum_i s_i

    by steps w <- w - eta * D g, where g is the gradient of F estimated from `batch_size` rows. For the squared error
    l = (y - yhat)^2, **without a half**, so one step over a batch B of b rows is

    .. math::

        w \leftarrow w - \eta D \Bigl( \frac{2}{b} \sum_{i \in B} s_i (\hat y_i - y_i) x_i + \alpha R'(w) \Bigr)

    with l' in the place of 2 (yhat_i - y_i) for other losses. The intercept is not penalised. D is the identity for the plain
    schedules; with learning_rate="auto" it undoes the units and the correlations of the columns (see Notes).

    Parameters
    ----------
    batch_size : int or None, default=32
        Number of rows in a step: None for all rows (batch descent), 1 for stochastic descent, anything between for
        mini-batch descent. n_samples or more is the full batch.
    loss : {"squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive", "quantile"}, default="squared_error"
        The loss l of one row with residual r = yhat - y:

        - "squared_error": ``r^2``
        - "huber": ``r^2`` where ``|r| <= epsilon``, ``2 * epsilon * |r| - epsilon^2`` beyond
        - "epsilon_insensitive": ``max(|r| - epsilon, 0)``
        - "squared_epsilon_insensitive": ``max(|r| - epsilon, 0)^2``
        - "quantile": ``-quantile * r`` where r < 0, ``(1 - quantile) * r`` beyond
    epsilon : float, default=0.1
        Threshold of the losses that have one, in units of y. For "huber" take about the size of an ordinary error: with far
        less, the loss is 2 * epsilon times the absolute error, beside which a given `alpha` weighs more.
    quantile : float, default=0.5
        The quantile of y given x that loss="quantile" predicts; 0.5 is the median.
    penalty : {"l2", "l1", "elasticnet"} or None, default="l2"
        The penalty R: ``||w||^2 / 2``, or ``||w||_1``, or l1_ratio times the second plus 1 - l1_ratio times the first. The
        l1 norm acts by proximal steps, which set coefficients exactly to zero. Averaging loses these zeros, so `fit` under
        learning_rate="auto" restores them at the end. `partial_fit` restores them where it ends at a minimum (see Notes).
    alpha : float, default=0.0
        Strength of the penalty; 0 means none. Its meaning does not depend on batch_size or n_samples. For the squared error
        the optimum is that of Ridge(alpha=n_samples * alpha / 2), Lasso(alpha=alpha / 2) or ElasticNet(alpha=alpha / 2).
    l1_ratio : float or None, default=0.15
        Share of the l1 norm in "elasticnet". It may be None for the other penalties.
    fit_intercept : bool, default=True
    positive : bool, default=False
        Whether the coefficients must be >= 0, as in LinearRegression, Lasso and ElasticNet. Proximal steps set them exactly to
        zero. The intercept may have any sign.
    learning_rate : {"auto", "constant", "invscaling", "optimal", "adaptive"}, default="auto"
        The step size eta at step t = 1, 2, ...

        - "auto": the largest safe constant step, found from the data together with D, divided by 3 after each epoch that
          made no progress. If the last batch is short, its step is shorter in proportion, so that every row has the same
          influence. The columns need no scaling, `eta0` is not used, and the descent does not diverge.
        - "constant": eta0
        - "invscaling": eta0 / t**power_t
        - "optimal": 1 / (alpha * (t0 + t - 1)), with SGDRegressor's t0; needs alpha > 0
        - "adaptive": eta0, divided by 5 each time the stopping rule fires, until it is below 1e-6
    eta0 : float, default=0.01
        Step size of the plain schedules, in units of 1 / (curvature of F).
    power_t : float, default=0.25
        Exponent of "invscaling".
    momentum : float, default=0.0
        Fraction m of the last displacement v that the next step keeps: v <- m * v - eta * D g, w <- w + v. As in
        MLPRegressor, for any batch_size. Under "auto" eta is multiplied by 1 - m. For wide sparse X, a step then takes time
        proportional to the number of columns.
    nesterovs_momentum : bool, default=False
        Whether to use Nesterov's momentum: w <- w + m * v - eta * D g with the new v.
    average : "auto", bool or int, default="auto"
        Whether `coef_` is an average over the steps. True: their mean. An int a: the mean from step a on. "auto": with
        learning_rate="auto" and mini-batches, an average that weighs step t by about t^3 and so forgets the start;
        otherwise none.
    max_iter : int, default=1000
        Maximum number of epochs (passes over the rows) of `fit`.
    tol : float or None, default=1e-4
        `fit` stops once the objective has not fallen by more than `tol` times the loss of the best constant prediction in
        each of `n_iter_no_change` epochs in a row. For the squared error, `tol` is in units of R^2, whatever the units of y;
        for losses that grow linearly, it is relative to the loss of the median residual. None runs all `max_iter` epochs, and
        "auto" then keeps its step. For losses other than the squared error, the full batch of "auto" stops when what is left to
        gain is below `tol`; with more than 1000 columns, for the squared error, below `tol` / 10.
    n_iter_no_change : int, default=5
        Epochs without progress before `fit` stops. If an epoch has fewer than 20 noisy steps, "auto" counts 20 steps as one
        epoch.
    shuffle : bool, default=True
        Whether the rows are visited in a new random order in each epoch.
    early_stopping : bool, default=False
        Whether to watch rows that are not learned from: held out at random, or given to `fit` as X_val and y_val. They are
        judged by D^2 = 1 - loss / loss of the best constant prediction for them, with the model's own loss: R^2 for the
        squared error, scikit-learn's d2_pinball_score for quantiles. An epoch is worse if D^2 is lower than the best by more
        than `tol`, by more than chance, and on most of these rows. After `n_iter_no_change` worse epochs in a row, the fit
        ends with the parameters that scored best.
    validation_fraction : float, default=0.1
        Share of the rows that early_stopping holds out, at least two, since D^2 needs them. Unused if X_val is given.
    half_life : float or None, default=None
        Number of rows after which what `partial_fit` has seen counts half. None never forgets: after the world has changed,
        the rows of before pull as hard as those of after. Give some thousand rows if it may change.
    record_steps : bool, default=False
        Whether to keep the loss and the parameters of every step in `loss_path_`, `coef_path_` and `intercept_path_`.
    warm_start : bool, default=False
        Whether `fit` continues from where the last one ended. On the same rows, 5 epochs and 5 more equal one fit of 10, for
        any tol, penalty, schedule or early stopping.
    random_state : int, RandomState instance or None, default=None
        Seed for the order of the rows and the choice of the held-out rows. An int makes fits reproducible.
    verbose : int, default=0
        1 prints a line for each epoch, and for each call of `partial_fit`.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        In the units of the given columns and in the dtype of X (float64 where float32 cannot represent the values, or rounds
        predictions by more than a ten-thousandth of y's deviation).
    intercept_ : float or ndarray of shape (n_targets,)
    n_iter_ : int
        Number of epochs of the last `fit`, plus one for each later `partial_fit`. With batch_size=None and the squared error
        (up to 1000 columns) epochs are steps on sums over the rows, which are read once.
    n_steps_ : int
        Number of updates of the parameters since the start.
    step_size_ : float or ndarray of shape (n_targets,)
        The last step size.
    loss_curve_ : ndarray of shape (n_epochs,)
        The objective of each epoch: the mean over its mini-batches of the loss before the step, plus the penalty. (For wide
        sparse X the penalty is evaluated only once every few thousand steps.) Of a stream, the loss of what `predict` uses on
        the rows of each call before they are learned, and at first that of the best constant: a monitor of drift. With several
        targets, the mean over them.
    validation_scores_ : ndarray of shape (n_epochs,)
        D^2 on the rows that early_stopping watches (R^2 for the squared error). With several targets, the mean over them.
    coef_path_ : ndarray of shape (n_steps + 1, n_features) or (n_steps + 1, n_targets, n_features)
        The coefficients at the start and after each step (not their average), with record_steps. If recording began in a
        later call, the path begins there.
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
    are not halved there either, so both parameters keep their values.

    Several targets are independent problems that share the order of the rows. Dense rows are read once for all of them. A
    target is done when its own fit would be: it then stays as it is, and its last objective is repeated in `loss_curve_`. The
    descent ends when all are done.

    learning_rate="auto" descends as if the columns were standardised (mean 0, standard deviation 1) and then stretched along
    directions in which correlation makes the descent slow: D = S (I + sum_k gain_k q_k q_k') S with S = diag(1 / sigma_j) and
    q_k eigenvectors of the correlation matrix. Coefficients are returned in the user's units, and the minimum does not change.
    The step size is 1 / L(b), with L(b) the expected smoothness [1]_ of b out of n rows:

    .. math::

        L(b) = \frac{n (b - 1)}{b (n - 1)} L + \frac{n - b}{b (n - 1)} L_{\max}

    where L is the curvature of the mean loss and L_max that of the longest row. For losses that grow linearly, the curvature
    is taken as the mean slope divided by the median residual of the best constant prediction. So the step depends neither on
    the units of y nor on a few extreme targets.

    With the full batch (and at most 1000 columns) "auto" reads all rows once for each step. The reading sums the loss, its
    gradient and its curvature; a kink is rounded to give it a curvature. The step is the minimum of a damped quadratic model of
    the objective. It starts from the fit of a sample of the rows. `n_iter_` then counts readings. With more than 1000 columns,
    the squared error without an l1 norm is minimised by conjugate gradients, which read the rows once for each step.

    A `fit` under "auto" that reaches a plateau ends with one or two more passes over the rows, which show how much the
    objective can still fall: by the duality gap, or for the squared error by the gradient. If this is more than 10 * tol
    (tol for the full batch), as a share of the excess of the best constant prediction over the minimum, further readings
    follow. If they do not help either, a ConvergenceWarning says how much is missing. Such a fit never ends above the best
    constant prediction.

    `partial_fit` under "auto" standardises by running means and covariances (variances for more than 500 columns). While
    fewer than 10 rows have been seen, only the intercept moves. Once there are three rows for each column, a call ends at
    the minimum over all rows seen so far, of any `batch_size`. For the squared error, running sums determine it, and the
    order of the rows does not matter. For other losses, the first rows are kept, and later ones leave a quadratic model of
    their loss, which adds up [3]_: a warning says once if the rows do not come shuffled. With single rows, some may wait
    for the next minimum. With average=False (or any other average that is not "auto") a call keeps the result of its steps.
    Outlying rows count less, which is said once. A stream never forgets, unless half_life is given.

    Sparse X with at most 1000 columns, or with more than a quarter of its entries non-zero, is unpacked block by block and
    treated as dense. In wider X, scales are rounded to powers of two, correlations are not corrected, and only columns whose
    mean is more than one deviation from zero are centred (in a copy).

    References
    ----------
    .. [1] R. M. Gower, N. Loizou, X. Qian, A. Sailanbayev, E. Shulgin, P. Richtarik, "SGD: General Analysis and Improved
       Rates", ICML 2019, arXiv:1901.09401.
    .. [2] O. Shamir, T. Zhang, "Stochastic Gradient Descent for Non-smooth Optimization: Convergence Results and Optimal
       Averaging Schemes", ICML 2013, arXiv:1212.1824. The average of "auto", with eta = 3.
    .. [3] L. Luo, P. X.-K. Song, "Renewable Estimation and Incremental Inference in Generalized Linear Models with Streaming
       Data Sets", Journal of the Royal Statistical Society B 82(1), 2020.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skgd import MiniBatchLinearRegressor
    >>> X, y = load_diabetes(return_X_y=True, scaled=False)
    >>> model = MiniBatchLinearRegressor(random_state=0).fit(X, y)
    >>> round(model.score(X, y), 2)
    0.52
    """

    coef_: NDArray[np.floating]
    intercept_: float | NDArray[np.floating]
    n_iter_: int
    n_steps_: int
    step_size_: float | NDArray[np.float64]
    loss_curve_: NDArray[np.float64]
    validation_scores_: NDArray[np.float64]
    coef_path_: NDArray[np.float64]
    intercept_path_: NDArray[np.float64]
    loss_path_: NDArray[np.float64]
    n_features_in_: int
    feature_names_in_: NDArray[np.object_]

    if TYPE_CHECKING:  # scikit-learn makes these from the signatures

        def set_fit_request(
            self,
            *,
            sample_weight: Request = ...,
            coef_init: Request = ...,
            intercept_init: Request = ...,
            X_val: Request = ...,
            y_val: Request = ...,
            sample_weight_val: Request = ...,
        ) -> Self: ...
        def set_partial_fit_request(self, *, sample_weight: Request = ...) -> Self: ...
        def set_score_request(self, *, sample_weight: Request = ...) -> Self: ...

    _doc_link_module = "skgd"
    _doc_link_template = DOCUMENTATION and f"{DOCUMENTATION}/generated/skgd.{{estimator_name}}.html"

    _parameter_constraints: ClassVar = {
        "batch_size": [Interval(Integral, 1, None, closed="left"), None],
        "loss": [StrOptions(set(LOSSES))],
        "epsilon": [Interval(Real, 0, None, closed="left")],
        "quantile": [Interval(Real, 0, 1, closed="neither")],
        "penalty": [StrOptions({"l2", "l1", "elasticnet"}), None],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "l1_ratio": [Interval(Real, 0, 1, closed="both"), None],
        "fit_intercept": ["boolean"],
        "positive": ["boolean"],
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
        "half_life": [Interval(Real, 0, None, closed="neither"), None],
        "record_steps": ["boolean"],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        batch_size: int | None = 32,
        *,
        loss: Literal[
            "squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive", "quantile"
        ] = "squared_error",
        epsilon: float = 0.1,
        quantile: float = 0.5,
        penalty: Literal["l2", "l1", "elasticnet"] | None = "l2",
        alpha: float = 0.0,
        l1_ratio: float | None = 0.15,
        fit_intercept: bool = True,
        positive: bool = False,
        learning_rate: Literal["auto", "constant", "invscaling", "optimal", "adaptive"] = "auto",
        eta0: float = 0.01,
        power_t: float = 0.25,
        momentum: float = 0.0,
        nesterovs_momentum: bool = False,
        average: Literal["auto"] | bool | int = "auto",
        max_iter: int = 1000,
        tol: float | None = 1e-4,
        n_iter_no_change: int = 5,
        shuffle: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        half_life: float | None = None,
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
        self.positive = positive
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
        self.half_life = half_life
        self.record_steps = record_steps
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    @with_callbacks
    @fit_context
    def fit(
        self,
        X: Table,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        coef_init: ArrayLike | None = None,
        intercept_init: ArrayLike | None = None,
        X_val: Table | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self:
        """Fit the model: descend from the start, or with warm_start=True from where the last call ended.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            C-ordered or CSR data of type float64 or float32 are not copied; anything else is copied once. Rows of weight 0
            change nothing, but are checked as all others are: NaN in one is refused.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
        sample_weight : array-like of shape (n_samples,), optional
            Scaled to mean 1, so multiplying all weights by the same number changes nothing.
        coef_init : array-like of shape (n_features,) or (n_targets, n_features), optional
            Initial coefficients; default zero.
        intercept_init : float or array-like of shape (n_targets,), optional
            Initial intercept; default the best constant prediction under learning_rate="auto", otherwise zero.
        X_val : {array-like, sparse matrix} of shape (n_val, n_features), optional
            Rows for early_stopping to watch, in place of a random part of X: later rows of a time series, or other groups. In a
            Pipeline, ``transform_input=["X_val"]`` transforms them as X.
        y_val : array-like of shape (n_val,) or (n_val, n_targets), optional
        sample_weight_val : array-like of shape (n_val,), optional

        Returns
        -------
        MiniBatchLinearRegressor
            The estimator itself.

        Raises
        ------
        ValueError
            If the input is invalid or the descent diverges. The estimator is then left as it was before the call.
        """
        validation = {"X_val": X_val, "y_val": y_val, "sample_weight_val": sample_weight_val}
        watch = Watch(self, X=X, y=y, metadata=None if sample_weight is None else {"sample_weight": sample_weight})
        with unchanged_on_error(self):
            go_on = self.warm_start and hasattr(self, "_state") and coef_init is None and intercept_init is None
            rows, state = self._begin(X, y, sample_weight, go_on)
            held_out = self._check_validation(rows, **validation)
            if self.early_stopping and held_out is None:
                rows, held_out = hold_out(self, rows, state.seed)
            self._fit(rows.with_mean_weight_1(), state, go_on, watch, held_out, (coef_init, intercept_init))
        return self

    @with_callbacks
    @fit_context
    def fit_chunks(
        self,
        chunks: Iterable[tuple[Any, ...]],
        *,
        X_val: Table | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self:
        """Fit the model to rows that come in chunks, of which a few are in memory at a time.

        With batch_size=None and learning_rate="auto", all chunks are read a few times, for the squared error once. The result
        is that of `fit` on all rows: for the squared error up to rounding, for other losses within `tol`. The order of the rows
        does not matter.

        With an int, each epoch visits the chunks in a new random order if `chunks` has a length and is indexed by numbers, and
        otherwise as they come. The rows of as many chunks as fit into 64 megabytes are shuffled together. If the chunks differ,
        because the rows are sorted by something, this is not enough, and a warning says so.

        Parameters
        ----------
        chunks : iterable of (X, y) or (X, y, sample_weight)
            As `fit` takes them. Every iteration must begin anew and give the same rows: a list or a class whose ``__iter__``
            opens the data, but no generator. Chunks without rows are left out.
        X_val, y_val, sample_weight_val : array-like, optional
            Rows for early_stopping to watch, as in `fit`. They are not chunks.

        Returns
        -------
        MiniBatchLinearRegressor
            The estimator itself.

        Raises
        ------
        TypeError
            If `chunks` can be read only once.
        ValueError
            If a chunk is invalid, which is named by its number from 0, or if the descent diverges. The estimator is then left
            as it was before the call.
        """
        validation = {"X_val": X_val, "y_val": y_val, "sample_weight_val": sample_weight_val}
        watch = Watch(self, X=chunks, y=None, metadata=None)
        with unchanged_on_error(self):
            go_on = self.warm_start and hasattr(self, "_state")
            check_has_validation(self, X_val)
            rows, state = self._begin_chunks(chunks, go_on)
            self._fit(rows, state, go_on, watch, self._check_validation(rows, **validation))
        return self

    @fit_context
    def partial_fit(self, X: Table, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Make one pass over the given rows, in mini-batches of `batch_size`, starting from the current parameters.

        With batch_size=None the call is exactly one step: the given rows are the mini-batch. With a plain schedule and
        shuffle=False, calls with multiples of batch_size rows take the same steps as one epoch of `fit` over all of them.
        Under learning_rate="auto" a call ends at the minimum over all rows seen so far, once there are enough: see the Notes of
        the class. A stream never forgets, unless half_life is given.
        Weights are used as given: a row of weight 2 counts twice. Callbacks watch `fit` only.

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
            If the input is invalid or the descent diverges. The estimator is then left as it was before the call.
        """
        with unchanged_on_error(self):
            if self.early_stopping:
                warn("early_stopping=True has no effect in partial_fit: one pass has no epochs to stop between.")
            go_on = hasattr(self, "_state")
            if go_on:  # scikit-learn looks at the parameters of a first call only
                recheck(self)
            watch, (rows, state) = Watch(self), self._begin(X, y, sample_weight, go_on)
            outcome, before = fit_chunk(self, rows, state, go_on, watch)
            self._publish(outcome)
            if not go_on:
                warn_of_epsilon(self, outcome.problem)
            self.n_iter_ = getattr(self, "n_iter_", 0) + 1
            self.loss_curve_ = np.append(getattr(self, "loss_curve_", []), np.mean(before))
        return self

    def predict(self, X: Table) -> NDArray[np.floating]:
        """Predict X w + b.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_targets)
        """
        check_is_fitted(self)
        X = in_floats(validate_data(self, X, **OF_COLUMNS, reset=False))
        return X @ self.coef_.T + self.intercept_

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.input_tags.sparse = True
        return tags

    def _begin(self, X, y, sample_weight, go_on):
        """Check everything given: the rows, and the state to go on from or an empty one."""
        check_parameters(self)
        rows = self._check(X, y, sample_weight, reset=not go_on)
        check_weighted(rows)
        return rows, self._state_before(rows, go_on)

    def _begin_chunks(self, chunks, go_on):
        """Check rows in chunks, which are read once, and find the state to go on from."""
        check_parameters(self)

        def check(X, y, sample_weight):
            return self._check(
                X, y, sample_weight, reset=not go_on and source.kind is None
            )  # the first chunk says what there is

        source = Chunks(chunks, check)
        rows = RowsInChunks.surveyed(source, self.batch_size)
        if self.batch_size is not None and self.batch_size < len(rows):
            rows.warn_if_unlike()
        return rows, self._state_before(rows, go_on)

    def _check(self, X, y, sample_weight, reset):
        """Rows of valid data; with `reset` these say what columns and targets there are."""
        if type(X).__module__.startswith("dask."):
            warn(
                "This gathers a Dask collection into memory. skgd.dask.DaskMiniBatchLinearRegressor fits it where it is. To "
                "gather it without this warning, give X.compute()."
            )
        if issparse(y):
            raise TypeError("y is sparse, but targets must be dense: give y.toarray().")
        X, y = validate_data(self, X, y, **OF_COLUMNS, order="C", multi_output=True, y_numeric=True, reset=reset)
        X = in_floats(X)
        X = compressed(X) if issparse(X) else np.require(X, requirements="CA")
        if reset:
            self._single_target = y.ndim == 1
        y = np.require(y.reshape(len(y), -1), np.float64, "CA")
        return Rows.of(X, y.T, check_weight(sample_weight, X.shape[0]))

    def _check_validation(self, rows, X_val, y_val, sample_weight_val):
        """The rows for early stopping to watch, if some are given."""
        if not is_validation_given(self, X_val, y_val, sample_weight_val):
            return None
        try:
            return check_validation(self._rows_to_watch(X_val, y_val, sample_weight_val), rows.n_targets)
        except (TypeError, ValueError) as error:
            raise type(error)(f"X_val, y_val or sample_weight_val: {error}") from error

    def _rows_to_watch(self, X_val, y_val, sample_weight_val):
        return self._check(X_val, y_val, sample_weight_val, reset=False)

    def _state_before(self, rows, go_on):
        """The state to go on from, or an empty one."""
        if go_on:
            state = State.restored(self._state)
            n_targets = len(state.parameters)
            if rows.n_targets != n_targets:
                raise ValueError(
                    f"y has {rows.n_targets} targets, but the model has {n_targets}. Fit a new model for another number."
                )
            check_sign(self, "a coefficient of the model that goes on", state.parameters[:, [COEF, AVERAGE], :-1])
            return state if self.fit_intercept else state.without_intercept()
        for name in ("validation_scores_", "n_iter_", "loss_curve_", *PATHS):
            self.__dict__.pop(name, None)
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        return State.start(np.zeros((rows.n_targets, rows.n_features + 1)), seed)

    def _fit(self, rows, state, go_on, watch, held_out=None, start=(None, None)):
        """Fit rows of mean weight 1, publish what has come of it, and warn where it must be told of."""
        outcome = fit_rows(self, rows, state, go_on, watch, held_out, start)
        problem, history = outcome.problem, outcome.history
        self._publish(outcome)
        self.n_iter_, self.loss_curve_ = len(history.objective), np.mean(history.objective, axis=1)
        self.__dict__.pop("validation_scores_", None)
        if self.early_stopping:
            self.validation_scores_ = np.mean(history.score, axis=1)
        warn_of_epsilon(self, problem)
        warn_if_poor(self, problem, history, outcome.excess, promise_of(self, problem), outcome.value)
        watch.end_fit()

    def _passes(self, problem, state, in_fit, is_done):
        """What makes the epochs."""
        epochs = epochs_of(self, problem) if in_fit else Passes
        return epochs.of(self, problem, state, in_fit, is_done)

    def _publish(self, outcome):
        """Set the attributes that fit and partial_fit have in common."""
        problem, history, end = outcome.problem, outcome.history, outcome.parameters
        self._state = outcome.state.stored()
        self.n_steps_ = outcome.state.n_steps
        self.__dict__.update(self._fitted(end, problem))
        self.step_size_ = self._per_target(np.broadcast_to(outcome.length, len(end)).astype(np.float64))
        if not self.record_steps:
            for name in PATHS:
                self.__dict__.pop(name, None)
            return
        path = moved_to(np.array(history.path), -problem.center)
        before = hasattr(self, "loss_path_")
        self.loss_path_ = np.append(self.loss_path_ if before else [], np.mean(history.step_objective, axis=1))
        for name, part in ("coef_path_", path[..., :-1]), ("intercept_path_", path[..., -1]):
            part = part[:, 0] if self._single_target else part
            setattr(self, name, np.concatenate([getattr(self, name), part[1:]]) if before else part)

    def _fitted(self, parameters, problem):
        """What predict needs: in X's precision, if that can hold it."""
        dtype = (problem.whole or problem).rows.dtype
        size = np.abs(parameters[:, -1]) + np.abs(parameters[:, :-1]) @ problem.size_of_columns  # of what predictions sum up
        rounding = np.finfo(dtype).eps * size
        if np.abs(parameters).max() > np.finfo(dtype).max or np.any(rounding > ROUNDED * problem.deviation):
            dtype = np.float64
        return {
            "coef_": self._per_target(parameters[:, :-1].astype(dtype)),
            "intercept_": self._per_target(parameters[:, -1].astype(dtype)),
        }

    def _per_target(self, values):
        """`values` with an entry for each target, or its only entry if y was one-dimensional."""
        return values[0] if self._single_target else values


def in_floats(X):
    """X in floats: of a frame of sparse columns, scikit-learn keeps bools and integers as they are."""
    return X if X.dtype in OF_COLUMNS["dtype"] else X.astype(np.float64)


def compressed(X):
    """CSR with arrays as the engine takes them: without repeated entries, contiguous, and no longer than they need be."""
    if not X.has_canonical_format:
        X = X.copy()  # the caller's stays as it is
        X.sum_duplicates()
    data, indices, starts = (np.require(part, requirements="CA") for part in (X.data, X.indices, X.indptr))
    if not (data is X.data and indices is X.indices and starts is X.indptr and len(data) == starts[-1]):
        X = csr_array((data, indices, starts), shape=X.shape)  # which drops what is too long
    return X
