"""The estimator: its parameters, fit, partial_fit and predict."""

from collections.abc import Iterable
from dataclasses import replace
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse, sparray, spmatrix
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from skgd._advice import warn_if_poor, warn_of_alpha, warn_of_epsilon
from skgd._callbacks import CallbackSupportMixin, Watch, with_callbacks
from skgd._chunks import Chunks, RowsInChunks
from skgd._fit import fit_rows
from skgd._objective import INDISTINCT, LOSSES
from skgd._partial_fit import fit_chunk
from skgd._plan import epochs_of, hold_out
from skgd._reference import AVERAGE, COEF
from skgd._rows import Rows, compressed
from skgd._sklearn import CheckedParameters, Interval, Options, fit_context, one_core
from skgd._state import State
from skgd._step_size import SCHEDULES
from skgd._stopping import promise_of
from skgd._tables import check_kind, in_words, of_kind
from skgd._validation import (
    check_has_validation,
    check_mean_weight,
    check_parameters,
    check_sign,
    check_validation,
    check_weight,
    check_weighted,
    cure_of,
    is_validation_given,
    unchanged_on_error,
    warn,
    with_plain_numbers,
)
from skgd._version import DOCUMENTATION

Table: TypeAlias = ArrayLike | sparray | spmatrix  # data frames are ArrayLike
Request: TypeAlias = bool | str | None  # of metadata: see scikit-learn's metadata routing
OF_COLUMNS: dict[str, Any] = {"accept_sparse": "csr", "dtype": [np.float64, np.float32]}  # what X may be
OBJECTS = np.dtype(object)
PATHS = "coef_path_", "intercept_path_", "loss_path_"


class MiniBatchLinearRegressor(CheckedParameters, CallbackSupportMixin, RegressorMixin, BaseEstimator):
    """Linear regression by batch, mini-batch or stochastic gradient descent.

    >>> from sklearn.datasets import load_diabetes
    >>> from skgd import MiniBatchLinearRegressor
    >>> X, y = load_diabetes(return_X_y=True, scaled=False)  # raw columns
    >>> model = MiniBatchLinearRegressor(random_state=0).fit(X, y)
    >>> round(model.score(X, y), 2)
    0.52

    It minimises, over coefficients w and intercept b::

        F(w, b) = sum_i s_i * l(x_i w + b - y_i) / sum_i s_i + alpha * R(w)

    by steps ``w <- w - eta * D g``, where g is the gradient of F estimated from `batch_size` rows. D is 1 for the plain
    schedules. With learning_rate="auto" it undoes the units of the columns.

    Parameters
    ----------
    batch_size : int or None, default=32
        Rows in a step: None for all (batch descent), 1 for stochastic descent. n_samples or more is the full batch.
    loss : {"squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive", "quantile"}, default="squared_error"
        The loss l of a residual r = prediction - y:

        - "squared_error": ``r^2``
        - "huber": ``r^2`` where ``|r| <= epsilon``, ``2 * epsilon * |r| - epsilon^2`` beyond
        - "epsilon_insensitive": ``max(|r| - epsilon, 0)``
        - "squared_epsilon_insensitive": ``max(|r| - epsilon, 0)^2``
        - "quantile": ``-quantile * r`` where r < 0, ``(1 - quantile) * r`` where r >= 0
    epsilon : float, default=0.1
        Threshold of the losses that have one, in units of y. For "huber", about the size of an ordinary error.
    quantile : float, default=0.5
        The quantile of y given x that loss="quantile" predicts, from 1e-9 to 1 - 1e-9; 0.5 is the median.
    penalty : {"l2", "l1", "elasticnet"} or None, default="l2"
        R: ``||w||^2 / 2``, ``||w||_1``, or ``l1_ratio * ||w||_1 + (1 - l1_ratio) * ||w||^2 / 2``. With an l1 norm,
        coefficients become exactly 0.
    alpha : float, default=0.0
        Strength of the penalty; 0 means none. For the squared error the minimum is that of Ridge(alpha=n_samples * alpha / 2),
        Lasso(alpha=alpha / 2) or ElasticNet(alpha=alpha / 2).
    l1_ratio : float or None, default=0.15
        Share of the l1 norm in "elasticnet".
    fit_intercept : bool, default=True
        Whether to fit b. If False, it is 0.
    positive : bool, default=False
        Whether the coefficients must be >= 0.
    learning_rate : {"auto", "constant", "invscaling", "optimal", "adaptive"}, default="auto"
        The step size eta at step t = 1, 2, ... All but "auto" are the plain schedules, which take the columns as they are.

        - "auto": the largest safe step, found from the data, and shorter after epochs without progress
        - "constant": eta0
        - "invscaling": eta0 / t**power_t
        - "optimal": 1 / (alpha * (t0 + t - 1)), with SGDRegressor's t0
        - "adaptive": eta0, divided by 5 each time the stopping rule fires, until it is below 1e-6
    eta0 : float, default=0.01
        Step size of "constant", "invscaling" and "adaptive". Steps above 2 / (largest curvature of F) diverge.
    power_t : float, default=0.25
        Exponent of "invscaling".
    momentum : float, default=0.0
        Share m of the last displacement v that the next step keeps: ``v <- m * v - eta * D g``, ``w <- w + v``.
    nesterovs_momentum : bool, default=False
        Whether to use Nesterov's momentum: ``w <- w + m * v - eta * D g`` with the new v.
    average : "auto", bool or int, default="auto"
        True makes `coef_` the mean of the coefficients after all steps, an int the mean from that step on. "auto" averages
        under learning_rate="auto" in mini-batches, with weights that forget the start.
    max_iter : int, default=1000
        Largest number of epochs (passes over the rows) of `fit`.
    tol : float or None, default=1e-4
        `fit` stops after `n_iter_no_change` epochs in a row that have lowered F by no more than this share of the loss of the
        best constant; for the squared error, in units of R^2. "auto" then ends within 10 * tol of the minimum (tol for the
        full batch, and never less than 1e-6), as a share of how far the best constant prediction lies above it, or warns. For
        the squared error on up to 1000 columns, unless these are nearly dependent, it stops as soon as it is that near, and
        takes the rest of the way in one step. None runs all `max_iter` epochs.
    n_iter_no_change : int, default=5
        Epochs without progress before `fit` stops.
    shuffle : bool, default=True
        Whether the rows are visited in a new random order in each epoch.
    early_stopping : bool, default=False
        Whether to watch rows that are not learned from, held out or given as X_val, and to take the parameters that predict
        them best, once later ones are worse by more than chance explains: those after an epoch or, under "auto" in
        mini-batches, the minimum. They are judged by D^2 of the model's own loss (R^2 for the squared error). Since "auto" may
        be near the minimum after an epoch, and with batch_size=None at it, `alpha` is the better remedy for overfitting.
    validation_fraction : float, default=0.1
        Share of the rows that early_stopping holds out, unless X_val is given.
    half_life : float or None, default=None
        Number of rows after which an earlier row of `partial_fit` counts half as much, also within one call. None never
        forgets: old rows pull as hard as new ones. For losses other than the squared error, the model follows a change late if
        half_life exceeds 2^18 / (7 (n_features + 1)).
    record_steps : bool, default=False
        Whether to keep `loss_path_`, `coef_path_` and `intercept_path_`.
    warm_start : bool, default=False
        Whether `fit` goes on from where the last one ended: 5 epochs and 5 more are one fit of 10.
    random_state : int, RandomState instance or None, default=None
        Seed for the order of the rows and the choice of held-out rows.
    verbose : int, default=0
        1 prints a line for each epoch, and for each call of `partial_fit`.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        w, in the units of the given columns and the dtype of X (float64 where float32 would cost accuracy).
    intercept_ : float or ndarray of shape (n_targets,)
        b; 0.0 with fit_intercept=False.
    n_iter_ : int
        Epochs of the last `fit`, plus one for each later `partial_fit`. For the full batch under "auto", steps of its
        solver, unless a momentum or an average is asked for.
    n_steps_ : int
        Batches since the start, a step each. They are also counted where `partial_fit` solves for the minimum instead.
    step_size_ : float or ndarray of shape (n_targets,)
        The last step size.
    loss_curve_ : ndarray of shape (n_epochs,)
        F in each epoch: the mean over its batches before their steps. Of a stream, the loss of each chunk before it was
        learned; for the first chunk, the loss of its best constant prediction. With several targets, their mean.
    validation_scores_ : ndarray of shape (n_epochs,)
        D^2 on the rows that early_stopping watches.
    coef_path_ : ndarray of shape (n_steps + 1, n_features) or (n_steps + 1, n_targets, n_features)
        The coefficients where recording began and after each step since, with record_steps. The last ones need not be `coef_`,
        which may be their average or, under "auto", the minimum.
    intercept_path_ : ndarray of shape (n_steps + 1,) or (n_steps + 1, n_targets)
        The intercepts where recording began and after each step since, with record_steps.
    loss_path_ : ndarray of shape (n_steps,)
        F on each step's batch, before the step, with record_steps.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, if X had any.

    See Also
    --------
    sklearn.linear_model.LinearRegression : Exact, and faster if all rows are in memory and the columns are few.
    sklearn.linear_model.SGDRegressor : One row a step, on columns that must be scaled first.

    Notes
    -----
    Mini-batches under "auto" take the safe step of [1]_ and the average of [2]_, with weights that grow as t^3. The full batch
    is minimised by the normal equations, Newton's method, conjugate gradients, coordinate descent or L-BFGS-B, whichever suits
    the loss and the columns. A bound on what is left to gain decides whether the end is near enough to the minimum; if
    mini-batches end too early, as on nearly dependent columns, these solvers go on. No end on a plateau is above the best
    constant prediction. A plain schedule that ends on a plateau far from the minimum warns.

    `partial_fit` under "auto" ends at the minimum over all rows seen so far [3]_, once there are 3 (n_features + n_targets) of
    them, if n_features + n_targets is at most 500. With more, it takes steps, and says so once. For losses other than the
    squared error, a warning says if the rows do not come shuffled.

    Several targets are independent problems that share the order of the rows; each ends as its own fit would. In a stream, a
    row that contradicts all before in one target counts less for all of them.

    References
    ----------
    .. [1] R. M. Gower, N. Loizou, X. Qian, A. Sailanbayev, E. Shulgin, P. Richtarik, "SGD: General Analysis and Improved
       Rates", ICML 2019, arXiv:1901.09401.
    .. [2] O. Shamir, T. Zhang, "Stochastic Gradient Descent for Non-smooth Optimization: Convergence Results and Optimal
       Averaging Schemes", ICML 2013, arXiv:1212.1824.
    .. [3] L. Luo, P. X.-K. Song, "Renewable Estimation and Incremental Inference in Generalized Linear Models with Streaming
       Data Sets", Journal of the Royal Statistical Society B 82(1), 2020.
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

    _cure_of = staticmethod(cure_of)
    _parameter_constraints: ClassVar = {
        "batch_size": [Interval(Integral, 1, None, closed="left"), None],
        "loss": [Options(*LOSSES)],
        "epsilon": [Interval(Real, 0, None, closed="left")],
        "quantile": [Interval(Real, 1e-9, 1 - 1e-9, closed="both")],  # beyond, HiGHS's tolerances exceed the slopes
        "penalty": [Options("l2", "l1", "elasticnet"), None],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "l1_ratio": [Interval(Real, 0, 1, closed="both"), None],
        "fit_intercept": ["boolean"],
        "positive": ["boolean"],
        "learning_rate": [Options("auto", *SCHEDULES)],
        "eta0": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "nesterovs_momentum": ["boolean"],
        "average": [Options("auto"), "boolean", Interval(Integral, 0, None, closed="left")],
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
            Pipeline with metadata routing, ``transform_input=["X_val"]`` transforms them as X.
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
        watch = Watch(self, X=X, y=y, metadata=None if sample_weight is None else {"sample_weight": sample_weight})
        with unchanged_on_error(self):
            go_on = self.warm_start and hasattr(self, "_state") and coef_init is None and intercept_init is None
            rows, state = self._begin(X, y, sample_weight, go_on)
            held_out = self._check_validation(rows, X_val, y_val, sample_weight_val)
            if self.early_stopping and held_out is None:
                rows, held_out = hold_out(with_plain_numbers(self), rows, state.seed)
            self._fit(rows, state, go_on, watch, held_out, (coef_init, intercept_init))
        return self

    @with_callbacks
    @fit_context
    def fit_chunks(
        self,
        chunks: Iterable[tuple[Any, ...]],
        y: None = None,
        *,
        X_val: Table | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self:
        """Fit the model to rows that come in chunks, of which a few are in memory at a time.

        With batch_size=None and learning_rate="auto", all chunks are read a few times; for the squared error once, unless
        columns are nearly dependent. The result is that of `fit` on all rows: for the squared error up to rounding, for other
        losses within `tol`. The order of the rows does not matter.

        With an int, each epoch visits the chunks in a new random order if `chunks` has a length and is indexed by numbers, and
        otherwise as they come. The rows of as many chunks as fit into 64 megabytes are shuffled together. If the means of
        columns or targets differ from chunk to chunk, as in sorted files, this is not enough, and a warning says so. With a
        plain schedule there is no warning if only the effects of columns change from chunk to chunk.

        Parameters
        ----------
        chunks : iterable of (X, y) or (X, y, sample_weight)
            As `fit` takes them. Every iteration must begin anew and give the same rows: a list or a class whose ``__iter__``
            opens the data, but no generator. Chunks without rows are left out. The next one is read in a thread while one is
            worked on, unless the source reuses its arrays.
        y : None
            Not used, since chunks hold their targets.
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
        if y is not None:
            raise TypeError("fit_chunks takes chunks that hold their targets: give fit_chunks([(X, y)]), or fit(X, y).")
        watch = Watch(self, X=chunks, y=None, metadata=None)
        with unchanged_on_error(self):
            go_on = self.warm_start and hasattr(self, "_state")
            check_has_validation(self, X_val)
            rows, state = self._begin_chunks(chunks, go_on)
            self._fit(rows, state, go_on, watch, self._check_validation(rows, X_val, y_val, sample_weight_val))
        return self

    @fit_context
    def partial_fit(self, X: Table, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Learn further rows: go to the minimum over all rows seen so far, or make one pass over these.

        Under learning_rate="auto" a call ends at the minimum over all rows seen so far, whatever batch_size is, once there are
        enough: see the Notes of the class. Before that, and with a plain schedule, it makes one pass in mini-batches, starting
        from the current parameters. With a plain schedule, batch_size=None makes the call exactly one step, and with
        shuffle=False calls with multiples of batch_size rows take the steps of one epoch of `fit` over all of them.

        A stream never forgets, unless half_life is given. Weights are used as given: the weighted loss is divided by the number
        of rows, so that with mean weight 2 it counts twice beside the penalty. After a `fit` they are divided by the mean
        weight of that fit. Callbacks watch `fit` only.

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
            go_on = hasattr(self, "_state")
            are_new = self._validate_params() if go_on else True  # scikit-learn looks at those of a first call only
            if self.early_stopping and are_new:
                warn("early_stopping=True has no effect in partial_fit: one pass has no epochs to stop between.")
            watch, (rows, state) = Watch(self), self._begin(X, y, sample_weight, go_on, are_new)
            if not go_on:
                check_mean_weight(rows)
            with one_core():  # see _fit
                rows, model = rows.with_weight_over(state.mean_weight), with_plain_numbers(self)
                outcome, loss_before = fit_chunk(model, rows, state, go_on, watch)
            self._publish(outcome)
            if not go_on:
                warn_of_epsilon(model, outcome.problem)
            self.n_iter_ = getattr(self, "n_iter_", 0) + 1
            self.loss_curve_ = np.append(getattr(self, "loss_curve_", []), np.mean(loss_before))
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
        check_kind(X, "X")
        with in_words(X):
            X = in_floats(validate_data(self, X, **OF_COLUMNS, reset=False))
        return X @ self.coef_.T + self.intercept_

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.input_tags.sparse = True
        return tags

    def _begin(self, X, y, sample_weight, go_on, are_new=True):
        """Check everything given: parameters, rows, and the state to go on from or an empty one."""
        check_parameters(self, are_new)
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
        batch_size = with_plain_numbers(self).batch_size
        rows = RowsInChunks.surveyed(source, batch_size, self.learning_rate == "auto")
        if batch_size is not None and batch_size < len(rows):
            rows.warn_if_unlike()
        return rows, self._state_before(rows, go_on)

    def _check(self, X, y, sample_weight, reset):
        """Rows of valid data; with `reset` these say what columns and targets there are."""
        if type(X).__module__.startswith("dask."):
            warn(
                "This gathers a Dask collection into memory. Its fit by skgd.dask.DaskMiniBatchLinearRegressor does not. To "
                "gather it without this warning, give X.compute()."
            )
        if issparse(y):
            raise TypeError("y is sparse, but targets must be dense: give y.toarray().")
        check_kind(X, "X")
        check_kind(y, "y")
        with in_words(X, y):
            table, targets = validate_data(self, X, y, **OF_COLUMNS, order="C", multi_output=True, y_numeric=True, reset=reset)
            y_in_columns = np.require(targets.reshape(len(targets), -1), np.float64, "CA")
            dtype = getattr(y, "dtype", OBJECTS)
            if (not isinstance(dtype, np.dtype) or dtype == OBJECTS) and np.isnan(y_in_columns).any():
                raise ValueError("Input y contains NaN.")
        X = in_floats(table)
        X = compressed(X) if issparse(X) else np.require(X, requirements="CA")
        if reset:
            self._single_target = targets.ndim == 1
        return Rows.of(X, y_in_columns.T, check_weight(sample_weight, X.shape[0]))

    def _check_validation(self, rows, X_val, y_val, sample_weight_val):
        """The rows for early stopping to watch, if some are given."""
        if not is_validation_given(self, X_val, y_val, sample_weight_val):
            return None
        try:
            return check_validation(self._rows_to_watch(X_val, y_val, sample_weight_val), rows.n_targets)
        except (TypeError, ValueError) as error:
            raise of_kind(error, f"X_val, y_val or sample_weight_val: {error}") from error

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
        """Fit rows with weights scaled to mean 1, set the fitted attributes, and warn of a poor result."""
        state, rows = replace(state, mean_weight=rows.mean_weight), rows.with_mean_weight_1()
        model = with_plain_numbers(self)
        with one_core():  # no bit may depend on the number of cores: only sums over many rows take all of them
            outcome = fit_rows(model, rows, state, go_on, watch, held_out, start)
        problem, history = outcome.problem, outcome.history
        self._publish(outcome)
        self.n_iter_, self.loss_curve_ = len(history.objective), np.mean(history.objective, axis=1)
        self.__dict__.pop("validation_scores_", None)
        if self.early_stopping:
            self.validation_scores_ = np.mean(history.score, axis=1)
        warn_of_epsilon(model, problem)
        is_worthless = warn_of_alpha(model, problem, history, outcome.parameters)
        warn_if_poor(model, outcome, np.inf if is_worthless else promise_of(model, problem))
        watch.end_fit()

    def _epochs(self, problem, state, is_done):
        """The Passes or the Solver of this fit. Dask's regressor has its own."""
        return epochs_of(self, problem).of(self, problem, state, is_done)

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
        path = problem.published(np.array(history.path))
        goes_on = hasattr(self, "loss_path_")
        self.loss_path_ = np.append(self.loss_path_ if goes_on else [], np.mean(history.step_objective, axis=1))
        for name, part in ("coef_path_", path[..., :-1]), ("intercept_path_", path[..., -1]):
            part = part[:, 0] if self._single_target else part
            setattr(self, name, np.concatenate([getattr(self, name), part[1:]]) if goes_on else part)

    def _fitted(self, parameters, problem):
        """What predict needs: in X's precision, if that can hold it."""
        dtype = problem.dtype
        size = np.abs(parameters[:, -1]) + np.abs(parameters[:, :-1]) @ problem.size_of_columns  # of what predictions sum up
        rounding = np.finfo(dtype).eps * size
        # A difference e costs e if the loss grows linearly, and otherwise e^2: either may cost INDISTINCT^2.
        most = INDISTINCT ** (2 if problem.loss.grows_linearly else 1) * problem.deviation
        if np.abs(parameters).max() > np.finfo(dtype).max or np.any(rounding > most):
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
