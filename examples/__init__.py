"""Workloads that show Foedus at work; each trainer uses only what `import foedus` gives."""

import numpy as np
from numpy.typing import NDArray

Model = dict[str, NDArray[np.float32]]
"""Named tensors in float32: what a round hands out and takes back."""
