"""The service as one application: `create_app`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import anyio.to_thread
from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import Lifespan

from sluice import __version__
from sluice.app.web import (
    access,
    catalogue,
    exports,
    features,
    imagery,
    jobs,
    layers,
    places,
    reported_mines,
    search,
    statistics,
    uploads,
    vector_tiles,
)
from sluice.app.web.errors import install_error_handlers
from sluice.app.web.guards import AnswerHead, BodyLimit, LastResort, Patience
from sluice.app.web.job_watch import JobWatch
from sluice.app.web.kept_answers import KeptAnswers
from sluice.app.web.service import Service
from sluice.app.web.settings import Settings
from sluice.app.web.static_files import mount_map
from sluice.base.records import DISCLAIMER

# Looked through in this order: those first that a map asks for by the dozen.
ROUTERS = (
    vector_tiles.router,
    imagery.router,
    features.router,
    places.router,
    access.router,
    reported_mines.router,
    layers.router,
    search.router,
    statistics.router,
    uploads.router,
    catalogue.router,
    exports.router,
    jobs.router,
)


def create_app(settings: Settings) -> FastAPI:
    """A service over one store.

    Args:
        settings: Of it; its store must be there.

    Raises:
        ConfigError, SchemaVersion, StoreError: See `open_store`.
    """
    service = Service(settings)
    watch = JobWatch(service)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = settings.threads
        yield
        if service.maker is not None:
            await service.maker.close()
        app.state.identity.close()
        service.close()

    app = make_routes(service, lifespan)
    app.state.job_watch = watch
    app.add_middleware(KeptAnswers, service=service)
    access.protect(app, settings)
    app.add_middleware(AnswerHead)
    app.add_middleware(BodyLimit)
    app.add_middleware(Patience, connections=service.connections)
    app.add_middleware(LastResort)
    return app


def make_routes(service: Service, lifespan: Lifespan[FastAPI] | None = None) -> FastAPI:
    """The routes alone, without what guards them and keeps their answers.

    Args:
        service: That they ask.
        lifespan: What is done when the application begins and ends.
    """
    app = FastAPI(
        title="Sluice",
        version=__version__,
        description=f"Mines found in satellite images, followed over time. {DISCLAIMER}",
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        openapi_url="/api/openapi.json",
        docs_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.service = service
    app.state.settings = service.settings
    for router in ROUTERS:
        app.include_router(router)
    install_error_handlers(app)
    mount_map(app, service.settings)
    # The last one added is the first that a request meets.
    app.add_middleware(GZipMiddleware, minimum_size=1500, compresslevel=3)
    return app
