#!/usr/bin/env bash
# The tests with every Python from 3.11 on that pyenv lists, or with those that are named, each in an environment of its own:
# bash tests/pythons.sh [3.13.0 ...]        PYTEST_ADDOPTS goes to pytest; three minutes each
set -euo pipefail
cd "$(dirname "$0")/.."
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
root=$(pyenv root)
for version in "${@:-$(pyenv versions --bare | grep -E '^3\.(1[1-9]|[2-9][0-9])\.[0-9]+t?$')}"; do
  for each in $version; do
    git -c safe.directory='*' clone -q . "$place/$each"
    "$root/versions/$each/bin/python" -m venv "$place/$each-environment"
    (
      cd "$place/$each"
      python="$place/$each-environment/bin/python"
      "$python" -m pip install --quiet ".[tests]"
      echo "== $("$python" --version): $("$python" -W error::RuntimeWarning -c "import skgd._problem as p; print(p.engine.__name__)")"
      "$python" -m pytest -q
    )
  done
done
