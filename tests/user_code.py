"""User code for type checkers: mypy --strict and pyright accept it, and find an error in each line that says `type: ignore`.

mypy --strict --follow-imports=silent tests/user_code.py && pyright --project pyproject.toml
"""

from typing import assert_type

import numpy as np
from numpy.typing import NDArray

from skgd import DescentPathDisplay, LossCurveDisplay, MiniBatchLinearRegressor

X, y = np.zeros((3, 2)), np.zeros(3)


def correct() -> None:
    model = MiniBatchLinearRegressor(None, loss="huber", penalty="elasticnet", l1_ratio=0.5, average=True, random_state=0)
    assert_type(model.fit(X, y), MiniBatchLinearRegressor)
    assert_type(model.fit([[1, 2], [3, 4]], [1, 2], X_val=X, y_val=y), MiniBatchLinearRegressor)
    assert_type(model.fit_chunks([(X, y)]), MiniBatchLinearRegressor)
    assert_type(model.partial_fit(X, y, sample_weight=[1.0, 2.0, 0.5]), MiniBatchLinearRegressor)
    assert_type(model.set_fit_request(sample_weight=True, X_val="X_later"), MiniBatchLinearRegressor)
    assert_type(model.set_partial_fit_request(sample_weight=None), MiniBatchLinearRegressor)
    assert_type(model.predict(X), NDArray[np.floating])
    assert_type(model.coef_, NDArray[np.floating])
    assert_type(model.n_iter_ + model.n_steps_, int)
    assert_type(model.loss_curve_, NDArray[np.float64])
    assert_type(LossCurveDisplay.from_estimator(model, per="step"), LossCurveDisplay)
    assert_type(DescentPathDisplay.from_estimator({"b": model}, X, y), DescentPathDisplay)


def wrong(model: MiniBatchLinearRegressor) -> None:
    MiniBatchLinearRegressor(loss="hubr")  # type: ignore
    MiniBatchLinearRegressor(penalty="l3")  # type: ignore
    MiniBatchLinearRegressor(learning_rate="fast")  # type: ignore
    MiniBatchLinearRegressor(average="yes")  # type: ignore
    MiniBatchLinearRegressor(batch_size="32")  # type: ignore
    MiniBatchLinearRegressor(32, "huber")  # type: ignore
    model.fit(X)  # type: ignore
    model.fit(X, y, weights=y)  # type: ignore
    model.partial_fit(X, y, X_val=X)  # type: ignore
    model.predict(X).upper()  # type: ignore
    model.set_fit_request(weights=True)  # type: ignore
    LossCurveDisplay.from_estimator(model, per="steps")  # type: ignore
