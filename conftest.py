"""For doctests: pictures are drawn without a window."""

import os

os.environ.setdefault("MPLBACKEND", "agg")
