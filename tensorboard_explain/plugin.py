"""The tab's server side: a fixed list of routes, each read through TensorBoard's data provider."""

import functools
from collections.abc import Callable
from dataclasses import astuple
from importlib import resources
from pathlib import Path
from typing import Any

from tensorboard import errors, plugin_util
from tensorboard.backend import http_util
from tensorboard.plugins import base_plugin
from werkzeug import wrappers

from tensorboard_explain.store import PLUGIN, Store, UnreadableError, parsed

TYPES = {".js": "text/javascript", ".css": "text/css"}


def _files(folder: Any, route: str = "") -> dict[str, str]:
    """List a folder's files and those of the folders in it: route -> type."""
    found: dict[str, str] = {}
    for path in folder.iterdir():
        if path.is_dir():
            found |= _files(path, f"{route}/{path.name}")
        elif Path(path.name).suffix in TYPES:
            found[f"{route}/{path.name}"] = TYPES[Path(path.name).suffix]
    return found


FILES = _files(resources.files("tensorboard_explain").joinpath("static"))
"""Every file that is served, and its type: those that are there when TensorBoard starts, and no others."""

FOREVER = 3600
"""Seconds that a browser may keep a blob: its address names the moment it was written."""

Handler = Callable[[wrappers.Request], Any]


class ExplainPlugin(base_plugin.TBPlugin):
    """Serves the tab's files and the monitors' events.

    Args:
        context: What TensorBoard gives its plugins.
    """

    plugin_name = PLUGIN

    def __init__(self, context: base_plugin.TBContext) -> None:
        self._store = Store(context.data_provider)

    def is_active(self) -> bool:
        """Leave the question to TensorBoard, which knows without reading whether any run has data of this plugin."""
        return False

    def frontend_metadata(self) -> base_plugin.FrontendMetadata:
        """Name the tab and its script."""
        return base_plugin.FrontendMetadata(es_module_path="/index.js", tab_name="Explain")

    def get_plugin_apps(self) -> dict[str, Any]:
        """List the routes; there are no others."""
        data: dict[str, Handler] = {
            "/runs": self._runs,
            "/events": self._events,
            "/curves": self._curves,
            "/history": self._history,
            "/event": self._event,
        }
        files = {route: functools.partial(_file, route) for route in FILES}
        return {route: _application(handler) for route, handler in {**files, **data}.items()}

    def _runs(self, request: wrappers.Request) -> Any:
        ctx, experiment = _where(request)
        return _json(request, {"runs": self._store.monitors(ctx, experiment)})

    def _events(self, request: wrappers.Request) -> Any:
        events = self._store.events(*_where(request), _given(request, "run"), _given(request, "tag"))
        return _json(request, {"events": [astuple(event) for event in events]})

    def _curves(self, request: wrappers.Request) -> Any:
        most = request.args.get("most", "")
        if most and not (most.isdecimal() and 0 < int(most) < 1_000_000):
            raise errors.InvalidArgumentError("most must be a whole number above 0")
        run, tag = (_given(request, key) for key in ("run", "tag"))
        curves = self._store.curves(*_where(request), run, tag, most=int(most) if most else None)
        return _json(request, {"points": curves})

    def _history(self, request: wrappers.Request) -> Any:
        neuron = _given(request, "neuron")
        if not neuron.isdecimal():
            raise errors.InvalidArgumentError("neuron must be a whole number")
        run, tag, layer = (_given(request, key) for key in ("run", "tag", "layer"))
        points = self._store.history(*_where(request), run, tag, layer, int(neuron))
        return _json(request, {"points": points})

    def _event(self, request: wrappers.Request) -> Any:
        """Answer with length of the header (4 bytes, big-endian), header and picture: one request for each step."""
        ctx = _where(request)[0]
        header = self._store.blob(ctx, _given(request, "header"))
        parsed(header)
        sprite = request.args.get("sprite")
        picture = self._store.blob(ctx, sprite) if sprite else b""
        body = len(header).to_bytes(4, "big") + header + picture
        return http_util.Respond(request, body, "application/octet-stream", expires=FOREVER)


def _where(request: wrappers.Request) -> tuple[Any, str]:
    return plugin_util.context(request.environ), plugin_util.experiment_id(request.environ)


def _given(request: wrappers.Request, key: str) -> str:
    value = request.args.get(key)
    if value is None:
        raise errors.InvalidArgumentError(f"{key}= is missing")
    return value


def _json(request: wrappers.Request, content: dict[str, Any]) -> Any:
    return http_util.Respond(request, content, "application/json")


def _file(route: str, request: wrappers.Request) -> Any:
    content = resources.files("tensorboard_explain").joinpath(f"static/{route[1:]}").read_bytes()
    return http_util.Respond(request, content, FILES[route])


def _application(handler: Handler) -> Any:
    """Make a WSGI application of a handler; what a request does wrong is said as JSON."""

    @wrappers.Request.application
    def application(request: wrappers.Request) -> Any:
        try:
            if request.method not in ("GET", "HEAD"):
                return http_util.Respond(request, {"error": "only GET"}, "application/json", code=405)
            return handler(request)
        except errors.InvalidArgumentError as error:
            return http_util.Respond(request, {"error": str(error)}, "application/json", code=400)
        except errors.NotFoundError as error:
            return http_util.Respond(request, {"error": str(error)}, "application/json", code=404)
        except UnreadableError as error:
            return http_util.Respond(request, {"error": str(error)}, "application/json", code=422)

    return application
