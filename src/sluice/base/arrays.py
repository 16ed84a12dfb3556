"""Array types; the suffix names the axes: b band, h row, w column, t time, n images."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

ArrayHW: TypeAlias = npt.NDArray[np.float32]
ArrayBHW: TypeAlias = npt.NDArray[np.float32]
ArrayTHW: TypeAlias = npt.NDArray[np.float32]
ArrayTBHW: TypeAlias = npt.NDArray[np.float32]
ArrayNBHW: TypeAlias = npt.NDArray[np.float32]
BoolHW: TypeAlias = npt.NDArray[np.bool_]
BoolTHW: TypeAlias = npt.NDArray[np.bool_]
FloatArray: TypeAlias = npt.NDArray[np.float64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]
IntArray: TypeAlias = npt.NDArray[np.int64]
ObjectArray: TypeAlias = npt.NDArray[np.object_]
