"""The engines behind a model: what threads do to each other."""

import importlib.util
import subprocess
import sys

import pytest

PROGRAM = """
import sys, threading
import numpy as np
from sluice.models.package import load_package
from sluice.models.runtime import open_session

sys.setswitchinterval(1e-6)
package = load_package("default", None)
session = open_session(package, "openvino", "f32", 1, 8)
side = package.manifest.sight_px
image = np.zeros((1, len(package.manifest.inputs), side, side), np.float32)
together = threading.Barrier(8)

def score():
    # Its request is made before, as that takes different times and keeps threads apart.
    session._own.request = session._compiled.create_infer_request()
    together.wait()
    session(image)

threads = [threading.Thread(target=score) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


@pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None,
    reason="needs OpenVINO",
)
@pytest.mark.parametrize("attempt", [1, 2])
def test_threads_that_score_for_the_first_time_together_end(attempt: int) -> None:
    """OpenVINO's first exchange with NumPy hung most such programs, without a way to stop them."""
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=120)
