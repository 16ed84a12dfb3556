"""Reads many damaged files, each in a process of its own: run by `test_uploads`.

Usage: python upload_fuzz.py FOLDER. Every file in it is read as an area and as a layer; prints a
line of JSON for each: what became of it.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

from sluice.app.web.upload_child import answer_to, limit

REQUEST = {
    "name": "fuzzed", "kind": "rivers", "buffer": "0 m", "licence": "", "columns": {},
    "vertices": 10_000, "features": 1000,
}  # fmt: skip

WARM = '{"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}'


def main() -> None:
    # Once here, so that no process need import and register anything.
    with tempfile.TemporaryDirectory() as warm:
        os.chdir(warm)
        Path("warm.geojson").write_text(WARM)
        for what in ("layer", "area"):
            assert "error" not in answer_to({**REQUEST, "what": what, "file": "warm.geojson"})
        os.chdir(sys.argv[1])
    for path in sorted(Path().iterdir()):
        for what in ("area", "layer"):
            began = time.monotonic()
            reader, writer = os.pipe()
            child = os.fork()
            if child == 0:
                limit(5, 3_000_000_000, 10_000_000)
                answer = answer_to({**REQUEST, "what": what, "file": path.name})
                os.write(writer, json.dumps(answer)[:4000].encode())
                os._exit(0)
            os.close(writer)
            with os.fdopen(reader) as told:
                text = told.read()
            _, status = os.waitpid(child, 0)
            seconds = round(time.monotonic() - began, 1)
            answer = {"file": path.name, "what": what, "status": status, "said": text}
            print(json.dumps(answer | {"seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
