"""The pages about the routes, as FastAPI makes them; they load nothing from another host."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

from ..errors import StartupError

PACKAGE = "fastapi_offline"  # of which we need the files alone
FILES = "/docs-files"
# What the pages bring along is enough; they may call any server that the document names.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data:; worker-src 'self' blob:; connect-src *"
)


def add_pages(api: FastAPI) -> None:
    """Add the pages that `api` wants, in front of FastAPI's own, and their files."""
    if api.openapi_url and api.docs_url:
        api.add_route(api.docs_url, _swagger, include_in_schema=False)
    if api.openapi_url and api.redoc_url:
        api.add_route(api.redoc_url, _redoc, include_in_schema=False)
    if api.openapi_url and (api.docs_url or api.redoc_url):
        api.mount(FILES, StaticFiles(directory=_folder()), name="docs-files")


async def _swagger(request: Request) -> HTMLResponse:
    api, root = request.app, _root(request)
    redirect = api.swagger_ui_oauth2_redirect_url
    page = get_swagger_ui_html(
        openapi_url=root + api.openapi_url,
        title=f"{api.title} - Swagger UI",
        swagger_js_url=f"{root}{FILES}/swagger-ui-bundle.js",
        swagger_css_url=f"{root}{FILES}/swagger-ui.css",
        swagger_favicon_url=f"{root}{FILES}/favicon.png",
        oauth2_redirect_url=redirect and root + redirect,
        init_oauth=api.swagger_ui_init_oauth,
        swagger_ui_parameters=api.swagger_ui_parameters,
    )
    return _closed(page)


async def _redoc(request: Request) -> HTMLResponse:
    api, root = request.app, _root(request)
    page = get_redoc_html(
        openapi_url=root + api.openapi_url,
        title=f"{api.title} - ReDoc",
        redoc_js_url=f"{root}{FILES}/redoc.standalone.js",
        redoc_favicon_url=f"{root}{FILES}/favicon.png",
        with_google_fonts=False,
    )
    return _closed(page)


def _closed(page: HTMLResponse) -> HTMLResponse:
    page.headers["content-security-policy"] = POLICY
    return page


def _root(request: Request) -> Any:
    return request.scope.get("root_path", "").rstrip("/")


def _folder() -> Path:
    found = find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise StartupError(f"rest: {PACKAGE}, of the extra server, is not installed")
    return Path(found.origin).parent / "static"
