"""Keras `predict` as a peer; runs in `.bench/keras` and knows nothing of Sluice.

    python keras_predict.py MODEL.h5 WINDOWS.npy SCORES.npy

Tries some batch sizes, writes the scores, prints a line of JSON with the fastest size and its
versions, and then, for each line it reads, predicts once and prints the seconds.
"""

from __future__ import annotations

import json
import os
import sys
import time

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

import numpy as np
import tensorflow as tf
import tf_keras

BATCH_SIZES = (32, 128, 512)


def main() -> None:
    """See the module."""
    model = tf_keras.models.load_model(sys.argv[1], compile=False)
    windows = np.load(sys.argv[2])

    def predict(batch_size: int) -> tuple[float, np.ndarray]:
        began = time.perf_counter()
        result = model.predict(windows, batch_size=batch_size, verbose=0)
        return time.perf_counter() - began, result

    for size in BATCH_SIZES:
        # The first call of a size builds its graph.
        model.predict(windows[: 2 * size], batch_size=size, verbose=0)
    fastest = min(BATCH_SIZES, key=lambda size: predict(size)[0])
    np.save(sys.argv[3], predict(fastest)[1].reshape(len(windows), -1).mean(axis=1))
    versions = f"TensorFlow {tf.__version__}, tf_keras {tf_keras.__version__}"
    print(json.dumps({"batch_size": fastest, "versions": versions}), flush=True)
    for _ in sys.stdin:
        print(predict(fastest)[0], flush=True)


if __name__ == "__main__":
    main()
