"""Instructions of a small fit, counted by valgrind's callgrind: they repeat to the digit, where times do not.

python -m benchmarks.instructions        (needs valgrind; some minutes)

Each kind of fit is made a few times first, so that what a process does once is not counted.
"""

import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

from sklearn.datasets import load_diabetes, make_regression
from sklearn.linear_model import Lasso, LinearRegression, Ridge, SGDRegressor

from skgd import MiniBatchLinearRegressor

N_FITS = 10
PLAIN = {"learning_rate": "constant", "eta0": 1e-4, "tol": None, "random_state": 0}
OLS = "OLS 442 x 10"
CASES = {
    f"{OLS}, LinearRegression": LinearRegression(),
    f"{OLS}, None": MiniBatchLinearRegressor(None),
    f"{OLS}, default": MiniBatchLinearRegressor(random_state=0),
    f"1 epoch, {OLS}, SGDRegressor": SGDRegressor(max_iter=1, **PLAIN),
    f"1 epoch, {OLS}, b=1": MiniBatchLinearRegressor(1, max_iter=1, **PLAIN),
    f"20 epochs, {OLS}, SGDRegressor": SGDRegressor(max_iter=20, **PLAIN),
    f"20 epochs, {OLS}, b=1": MiniBatchLinearRegressor(1, max_iter=20, **PLAIN),
    "ridge 1,000 x 50, Ridge": Ridge(alpha=1.0),
    "ridge 1,000 x 50, None": MiniBatchLinearRegressor(None, alpha=2e-3),
    "lasso 1,000 x 50, Lasso": Lasso(alpha=0.5),
    "lasso 1,000 x 50, None": MiniBatchLinearRegressor(None, penalty="l1", alpha=1.0),
}


def count():
    """Run under callgrind: one dump of its counters for each case."""
    warnings.simplefilter("ignore")
    small, larger = load_diabetes(return_X_y=True), make_regression(1000, 50, noise=10.0, random_state=0)
    for name, model in CASES.items():
        X, y = small if OLS in name else larger
        for _ in range(3):
            model.fit(X, y)
        subprocess.run(["callgrind_control", "--zero", str(os.getpid())], check=True, capture_output=True)
        for _ in range(N_FITS):
            model.fit(X, y)
        subprocess.run(["callgrind_control", f"--dump={name}", str(os.getpid())], check=True, capture_output=True)


def main():
    with tempfile.TemporaryDirectory() as folder:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", sys.executable, "-m", __spec__.name]
        one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        subprocess.run([*command, "counted"], check=True, capture_output=True, env=os.environ | one_thread)
        found = {}
        for dump in Path(folder).iterdir():
            lines = dump.read_text().splitlines()
            name = next((line.split("Client Request: ")[-1] for line in lines if line.startswith("desc: Trigger:")), "")
            total = [line.split()[-1] for line in lines if line.startswith(("summary:", "totals:"))]
            found[name.removeprefix("Dump: ")] = int(total[-1]) / N_FITS if total else 0.0
        print(f"{'':40}{'thousands of instructions':>28}{'ratio':>8}")
        beside = 1.0
        for name, model in CASES.items():
            (total,) = (number for label, number in found.items() if label.endswith(name))
            beside = beside if isinstance(model, MiniBatchLinearRegressor) else total  # theirs comes first
            print(f"{name:40}{total / 1e3:28,.0f}{total / beside:8.1f}")


if __name__ == "__main__":
    count() if len(sys.argv) > 1 else main()
