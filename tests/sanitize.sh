#!/usr/bin/env bash
# The differential test and the random sequences on an extension that checks addresses and undefined behaviour; needs gcc.
#   bash tests/sanitize.sh 20000 2000        (cases, sequences; 3000 and 300 if none are given)
set -euo pipefail
cd "$(dirname "$0")/.."
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cp -r skgd tests setup.py setup.cfg pyproject.toml README.md LICENSE "$place"
cd "$place"
rm -f skgd/*.so skgd/_kernel.c
CFLAGS="-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g" \
  LDFLAGS="-fsanitize=address,undefined" python setup.py -q build_ext --inplace
export LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)"
export ASAN_OPTIONS=detect_leaks=0 OMP_NUM_THREADS=1 # what Python never frees is no leak of ours
python -c "import skgd._kernel as kernel; assert kernel.__file__.startswith('$place'), kernel.__file__"
python -m tests.test_differential "${1:-3000}"
python -m tests.test_sequences "${2:-300}"
