import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64] | NDArray[np.float32]
Floats = NDArray[np.float64]
Order = NDArray[np.int32]

def descend(
    X: Rows,
    y: Floats,
    weight: Floats,
    order: Order,
    batch_size: int,
    steps: NDArray[np.void],
    metric: Floats,
    loss: Floats,
    penalty: Floats,
    targets: Order,
    parameters: Floats,
    objectives: Floats,
) -> None: ...
def descend_sparse(
    values: Rows,
    columns: Order,
    starts: NDArray[np.int64],
    y: Floats,
    weight: Floats,
    order: Order,
    batch_size: int,
    steps: NDArray[np.void],
    metric: Floats,
    loss: Floats,
    penalty: Floats,
    targets: Order,
    parameters: Floats,
    objectives: Floats,
) -> None: ...
def shuffle(order: Order, seed: int) -> None: ...
