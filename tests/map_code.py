"""The map's own TypeScript, asked by tests in Python."""

import importlib.util
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

WEB = Path(__file__).parents[1] / "web"
LEAST_NODE = (22, 18)
"""That reads TypeScript by itself."""


def asker(module: str, names: str, answer: str) -> Callable[[Any], Any]:
    """A function that gives each of some values to the map's code; skips where that cannot run.

    Args:
        module: Under `web/src`; it may import nothing.
        names: What of it is used.
        answer: An expression of `value`; a promise is waited for.
    """
    spec = importlib.util.spec_from_file_location("build_map", WEB / "build_map.py")
    build_map = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build_map)
    try:
        node, _ = build_map.node_and_npm()
    except build_map.MapNotBuilt as err:
        pytest.skip(str(err))
    version = subprocess.run([*node, "--version"], capture_output=True, text=True, check=True)
    if tuple(map(int, re.findall(r"\d+", version.stdout)[:2])) < LEAST_NODE:
        pytest.skip(f"node {version.stdout.strip()} reads no TypeScript")
    program = (
        f"import {{ {names} }} from {json.dumps((WEB / 'src' / module).as_uri())};"
        "import { readFileSync } from 'node:fs';"
        "const values = JSON.parse(readFileSync(0, 'utf-8'));"
        f"const answers = await Promise.all(values.map(async (value) => {answer}));"
        "console.log(JSON.stringify(answers));"
    )

    def ask(values: Any) -> Any:
        done = subprocess.run(
            [*node, "--input-type=module", "-e", program],
            input=json.dumps(values),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return ask
