"""Make the peer's own environment, `.bench/keras`: TensorFlow with the Keras 2 API, 2 GB.

    python bench/peers/make_keras_env.py

It is no dependency of Sluice: only the comparison with Keras `predict` needs it, and it keeps
TensorFlow away from the project's environment.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / ".bench" / "keras"
PYTHON = FOLDER / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
# The published files were saved by Keras 2; tf_keras is its continuation.
REQUIREMENTS = ("tensorflow-cpu==2.21.*", "tf_keras==2.21.*")


def main() -> None:
    """Create the environment, or bring it up to date."""
    venv.EnvBuilder(with_pip=True).create(FOLDER)
    command = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", *REQUIREMENTS]
    subprocess.run(command, check=True)  # noqa: S603 - fixed words, no shell
    print(f"made {FOLDER}")


if __name__ == "__main__":
    main()
