"""Break the code at random, one small change at a time, and count which changes the tests do not see.

python -m tests.mutate 60 40 0        (mutants of Python, of C, seed; from the project's folder; hours for hundreds)
"""

import random
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

NAMES = """
chunks descent duality finish fit geometry latest_rows least_squares metric moments newton objective outliers partial_fit
past_rows plan problem quadratic reading reference renewable rows shuffle_test state step_size stopping stream vertex wide
"""
PYTHON = [f"skgd/_{name}.py" for name in NAMES.split()]
C = ["skgd/_kernel.h", "skgd/_pass.h", "skgd/_sparse_pass.h"]
CHANGES = [
    (r" < ", " >= "),
    (r" > ", " <= "),
    (r" <= ", " > "),
    (r" >= ", " < "),
    (r" == ", " != "),
    (r" != ", " == "),
    (r" \+ ", " - "),
    (r" - ", " + "),
    (r" \* ", " / "),
    (r" / ", " * "),
    (r" \+= ", " = "),
    (r" -= ", " += "),
    (r" and ", " or "),
    (r" && ", " || "),
    (r"\bnot ", ""),
    (r"\bmaximum\b", "minimum"),
    (r"\bminimum\b", "maximum"),
    (r"\bmax\(", "min("),
    (r"\bmin\(", "max("),
    (r"\*\*2", ""),
    (r"\b0\.5 \* ", ""),
    (r"\b1\.0\b", "2.0"),
    (r"\b0\.0\b", "1.0"),
    (r"\bnp\.sqrt\(", "("),
    (r"\babs\(", "("),
    (r"\bfabs\(", "("),
]
NAMES_OF_TESTS = """
differential kernel chunks reading sparse oracles auto objective laws input sequences lecture duality stream_memory
geometry moments
"""
TESTS = [f"tests/test_{name}.py" for name in NAMES_OF_TESTS.split()]


def places(text, is_python):
    """Where a change applies: (start, end, new), outside of docstrings, comments, messages and what is for speed alone.

    That is which rows are fetched ahead of their turn, and how many steps a compiled call makes.
    """
    hidden = (
        r'"""[\s\S]*?"""|#.*|f?"[^"\n]*"|.*LONGEST_RUN.*'
        if is_python
        else r"/\*[\s\S]*?\*/|#.*|.*(?:\bahead\b|AHEAD|TO_L\d|fetch).*"
    )
    covered = [match.span() for match in re.finditer(hidden, text)]
    found = [(*match.span(), new) for old, new in CHANGES for match in re.finditer(old, text)]
    return [place for place in found if not any(a <= place[0] < b for a, b in covered)]


def survives(mutant):
    """Whether all tests pass on a copy of the project with one change: (path, (start, end, new))."""
    path, (start, end, new) = mutant
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "project"
        shutil.copytree(".", copy, ignore=shutil.ignore_patterns(".git", "docs", "build", ".*_cache", "__pycache__"))
        text = (copy / path).read_text()
        (copy / path).write_text(text[:start] + new + text[end:])
        environment = {"PYTHONPATH": str(copy), "PATH": "/usr/local/bin:/usr/bin:/bin", "OMP_NUM_THREADS": "1", "CFLAGS": "-O1"}
        run = {"cwd": copy, "env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "timeout": 800}
        try:
            if path.endswith(".h"):
                kernel = copy / "skgd" / "_kernel.h"
                kernel.write_text(kernel.read_text().replace('__attribute__((target_clones("default", "arch=x86-64-v3")))', ""))
                build = [sys.executable, "setup.py", "-q", "build_ext", "--inplace", "--force"]
                if subprocess.run(build, **run).returncode:
                    return False
            tests = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *TESTS]
            return subprocess.run(tests, **run).returncode == 0
        except subprocess.TimeoutExpired:
            return False


def main(n_python, n_c, seed):
    if not survives((PYTHON[0], (0, 0, ""))):
        sys.exit("the tests fail on a copy without a change, so they would count every mutant as killed: mend that first")
    rng, mutants = random.Random(seed), []
    for names, number in (PYTHON, n_python), (C, n_c):
        every = [(path, place) for path in names for place in places(Path(path).read_text(), path.endswith(".py"))]
        mutants += rng.sample(every, number)
    with ThreadPoolExecutor(2) as pool:
        survivors = 0
        for mutant, survived in zip(mutants, pool.map(survives, mutants), strict=True):
            path, (start, _, new) = mutant
            text = Path(path).read_text()
            line = text[:start].count("\n") + 1
            survivors += survived
            print(
                "SURVIVED" if survived else "killed  ",
                f"{path}:{line}",
                repr(new),
                "in",
                text.splitlines()[line - 1].strip(),
                flush=True,
            )
    print(f"{survivors} of {len(mutants)} mutants survived")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
