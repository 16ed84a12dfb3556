"""What the service says of itself holds: schemathesis looks for requests for which it does not."""

from __future__ import annotations

from pathlib import Path

import schemathesis
from schemathesis.engine import from_schema
from starlette.types import ASGIApp, Receive, Scope, Send

from service_cases import write_store
from sluice.app.web.server import create_app
from sluice.app.web.settings import Settings

EXAMPLES = 3
"""For each operation, beside those that follow from its description."""
LEAST_REQUESTS = 400
CONFIG = {
    # A text of the right form may be no day, box or filter all the same, and is refused with 400.
    "checks": {"positive_data_acceptance": {"expected-statuses": ["2xx", "3xx", "4xx"]}},
    "generation": {"max-examples": EXAMPLES},
    # Links between operations are not described.
    "phases": {"stateful": {"enabled": False}},
    "seed": 7,
}


def _on_loopback(app: ASGIApp) -> ASGIApp:
    """The same under a name that it takes for its own."""

    async def asked(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
            own = [*headers, (b"host", b"127.0.0.1")]
            scope = {**scope, "server": ("127.0.0.1", 80), "headers": own}
        await app(scope, receive, send)

    return asked


def test_answers_are_those_that_are_described(tmp_path: Path) -> None:
    app = create_app(Settings(store=str(write_store(tmp_path / "s.sqlite")), threads=2))
    config = schemathesis.Config.from_dict(CONFIG)
    schema = schemathesis.openapi.from_asgi("/api/openapi.json", _on_loopback(app), config=config)
    asked, faults = 0, []
    for event in from_schema(schema).execute():
        assert "Error" not in type(event).__name__, event
        recorder = getattr(event, "recorder", None)
        if recorder is None:
            continue
        asked += len(recorder.cases)
        faults += [
            f"{recorder.label}: {check.failure_info.failure}\n{check.failure_info.code_sample}"
            for checks in recorder.checks.values()
            for check in checks
            if check.failure_info is not None
        ]
    app.state.service.close()
    assert not faults, "\n\n".join(faults[:5])
    assert asked >= LEAST_REQUESTS
