"""What browsers, and readers behind slow lines, need of every answer: CORS and gzip."""

from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
from starlette.types import ASGIApp

from ..calls.edge import REQUEST_ID, TRACE_ID
from .contents import LINES
from .edge import Dressing
from .settings import HttpCors, HttpGzip, HttpSettings

READABLE = (TRACE_ID, REQUEST_ID, "retry-after")  # else a script in a browser does not see them
AS_THEY_ARE = (*DEFAULT_EXCLUDED_CONTENT_TYPES, LINES)  # events and lines go out at once


def dressing(settings: HttpSettings) -> Dressing:
    """Return what puts the middleware of `settings` around an application; if unset, nothing."""

    def dressed(app: ASGIApp) -> ASGIApp:
        zipped = app if settings.gzip is None else _zipped(app, settings.gzip)
        return zipped if settings.cors is None else _shared(zipped, settings.cors)

    return dressed


def _zipped(app: ASGIApp, gzip: HttpGzip) -> ASGIApp:
    return GZipMiddleware(app, gzip.min_size, gzip.level, exclude_content_types=AS_THEY_ARE)


def _shared(app: ASGIApp, cors: HttpCors) -> ASGIApp:
    return CORSMiddleware(
        app,
        allow_origins=cors.origins,
        allow_origin_regex=cors.origin_pattern or None,
        allow_methods=cors.methods,
        allow_headers=cors.headers,
        allow_credentials=cors.credentials,
        expose_headers=(*READABLE, *cors.exposed),
        max_age=int(cors.max_age.total_seconds()),
    )
