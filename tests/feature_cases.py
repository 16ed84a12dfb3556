"""Made-up features whose rule is known."""

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.float32]


def made_features(n: int = 160, seed: int = 0) -> tuple[Images, Images, Images]:
    rng = np.random.default_rng(seed)
    features = (rng.normal(size=(n, 5)) * [1, 10, 0.1, 1, 0] + [5, 0, 0, 0, 2]).astype(np.float32)
    labels = (features[:, 0] - 5 - features[:, 1] / 10 + rng.normal(0, 0.3, n) > 0).astype(int)
    return features, labels, np.arange(n) // 2
