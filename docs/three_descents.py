"""The tutorial's animation: batch, mini-batch and stochastic descent, epoch by epoch, from the same start.

python docs/three_descents.py docs/_static/three_descents.gif
"""

import sys

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.animation import FuncAnimation, PillowWriter

from skgd import DescentPathDisplay, MiniBatchLinearRegressor

N_EPOCHS = 20
X, y = np.arange(6.0)[:, None], np.array([0.0, 0.8, 2.2, 2.3, 4.3, 4.9])
plain = {"learning_rate": "constant", "eta0": 0.02, "max_iter": N_EPOCHS, "tol": None, "record_steps": True}
models = {
    f"batch_size={b}": MiniBatchLinearRegressor(b, random_state=0, **plain).fit(X, y, coef_init=[-0.5], intercept_init=1.5)
    for b in (1, 2, None)
}
display = DescentPathDisplay.from_estimator(models, X, y, ax=plt.subplots(figsize=(5.6, 4.4), layout="constrained")[1])
display.ax_.get_legend().set_loc("lower left")
paths = [line.get_xydata() for line in display.lines_]
stars = [line for line in display.ax_.lines if line.get_marker() == "*" and len(line.get_xdata())]  # but for the legend


def draw(n_epochs):
    """The paths of so many epochs."""
    for line, star, path in zip(display.lines_, stars, paths, strict=True):
        n_steps = n_epochs * (len(path) - 1) // N_EPOCHS
        line.set_data(*path[: n_steps + 1].T)
        star.set_data(*path[n_steps : n_steps + 1].T)
    display.ax_.set_title("the start" if n_epochs == 0 else f"after epoch {n_epochs}")


animation = FuncAnimation(display.figure_, draw, frames=[*range(N_EPOCHS + 1), *[N_EPOCHS] * 6])
animation.save(sys.argv[1], writer=PillowWriter(fps=3), dpi=90)
