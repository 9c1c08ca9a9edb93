"""The plugin: a route parses the request and replies; what is replied is made in `payloads`."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tensorboard.backend import http_util
from tensorboard.plugins import base_plugin
from werkzeug import wrappers
from werkzeug.datastructures import Headers

from sparsight import schema
from sparsight.errors import RunError, UsageError, nearest

from . import assets, payloads
from .losses import Choice
from .provider import Listing, Provider, Scope
from .query import Query
from .records import NotRecorded
from .store import LossChoices, MeasurementStore

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

__all__ = ["ROUTES", "SparsityPlugin"]

_JSON = "application/json"
_BINARY = "application/octet-stream"
_METHODS = ("GET", "HEAD")


@dataclass(frozen=True)
class Answer:
    """An answer whose body is made only when the browser does not have it yet."""

    state: object
    """Whatever the answer depends on; its representation becomes the ETag."""
    body: Callable[[], bytes | Mapping[str, Any]]


# -- routes ---------------------------------------------------------------------------------------


def _get_version(store: MeasurementStore, scope: Scope, query: Query) -> Answer:
    runs = store.runs(scope, fresh=True)
    version = _digest((runs, store.scalars(scope, fresh=True), store.loading(runs)))
    return Answer(version, lambda: {"version": version})


def _get_index(store: MeasurementStore, scope: Scope, query: Query) -> Answer:
    runs, scalars = store.runs(scope), store.scalars(scope)
    loading = store.loading(runs)
    version = _digest((runs, scalars, loading))

    def body() -> Mapping[str, Any]:
        lenders = LossChoices(runs, scalars).lenders()
        return payloads.index(version, loading, store.summaries(scope, runs, scalars), lenders)

    return Answer(version, body)


def _get_probes(store: MeasurementStore, scope: Scope, query: Query) -> Answer:
    run = query.text("run")
    tags = store.tags(scope, run)
    return Answer(tags, lambda: payloads.probes(run, store.probes(scope, run, tags)))


def _get_scalars(store: MeasurementStore, scope: Scope, query: Query) -> Answer:
    run, tag, lender = query.text("run"), query.optional("tag"), query.optional("lender")
    tags, runs, scalars = store.tags(scope, run), store.runs(scope), store.scalars(scope)
    sigma = query.sigma()
    choices = LossChoices(runs, scalars)
    owner = _lender(lender, scalars) or run
    names = choices.names(owner)
    if tag is None:
        guess = choices.guess(owner)
        return Answer((names, guess), lambda: payloads.scalar_names(run, names, guess))
    if tag not in names:
        raise NotRecorded(f"run {owner!r} has no scalar {tag!r}; {nearest(tag, names)}")
    choice = Choice(tag, sigma)
    found = choices.of(owner, choice)
    assert found is not None  # it is among the names
    loss = dataclasses.replace(found, lender=lender)
    clocks = (tags, runs.get(owner, ()))

    def body() -> Mapping[str, Any]:
        return payloads.scalar(run, tag, sigma, store.curve(scope, run, runs, loss, sigma))

    return Answer((clocks, loss, sigma), body)


def _get_onsets(store: MeasurementStore, scope: Scope, query: Query) -> Answer:
    runs, scalars = store.runs(scope), store.scalars(scope)
    lender = _lender(query.optional("lender"), scalars)
    choice = Choice(query.optional("tag"), query.sigma(), lender)

    def body() -> Mapping[str, Any]:
        return payloads.onsets(choice, store.onsets(scope, runs, scalars, choice))

    return Answer((runs, scalars, choice), body)


def _lender(name: str | None, scalars: Listing) -> str | None:
    if name is not None and name not in scalars:
        raise NotRecorded(f"no run {name!r} has scalars to lend; {nearest(name, scalars)}")
    return name


def _get_layers(store: MeasurementStore, scope: Scope, query: Query) -> Answer:
    run, first, last = query.text("run"), query.step("from"), query.step("to")
    tags = store.tags(scope, run)

    def body() -> bytes:
        return payloads.layers(run, store.tables(scope, run, tags), first, last)

    return Answer(tags, body)


def _get_maps(store: MeasurementStore, scope: Scope, query: Query) -> Answer:
    run, layer, probe = query.text("run"), query.text("layer"), query.probe()
    first, last = query.step("from"), query.step("to")
    tags = store.tags(scope, run)
    own = store.layer_tags(scope, run, tags, "maps", layer)

    def body() -> bytes:
        tables = store.tables(scope, run, tags)
        channels = next((info.channels for info in tables.layers if info.name == layer), None)
        series = store.layer_series(scope, run, tables, layer, own)
        return payloads.maps(run, layer, channels, series, probe, first, last)

    return Answer((tags, own), body)


def _get_correlation(store: MeasurementStore, scope: Scope, query: Query) -> Answer:
    run, layer = query.text("run"), query.text("layer")
    first, last = query.step("from"), query.step("to")
    tags = store.tags(scope, run)
    own = store.layer_tags(scope, run, tags, "correlation", layer)

    def body() -> bytes:
        series = store.layer_series(scope, run, store.tables(scope, run, tags), layer, own)
        return payloads.correlation(run, layer, series, first, last)

    return Answer((tags, own), body)


@dataclass(frozen=True)
class Route:
    """What a path accepts and answers."""

    parameters: tuple[str, ...]
    media_type: str
    answer: Callable[[MeasurementStore, Scope, Query], Answer]


ROUTES = {
    "index": Route((), _JSON, _get_index),
    "version": Route((), _JSON, _get_version),
    "probes": Route(("run",), _JSON, _get_probes),
    "scalars": Route(("run", "tag", "sigma", "lender"), _JSON, _get_scalars),
    "onsets": Route(("tag", "sigma", "lender"), _JSON, _get_onsets),
    "layers": Route(("run", "from", "to"), _BINARY, _get_layers),
    "maps": Route(("run", "layer", "probe", "from", "to"), _BINARY, _get_maps),
    "correlation": Route(("run", "layer", "from", "to"), _BINARY, _get_correlation),
}
"""All routes but the page's own files."""


class SparsityPlugin(base_plugin.TBPlugin):  # type: ignore[misc]  # TensorBoard has no types
    """The Sparsity tab."""

    plugin_name = schema.LAYERS_PLUGIN

    def __init__(self, context: base_plugin.TBContext) -> None:
        self._store = MeasurementStore(Provider(context.data_provider))

    def get_plugin_apps(self) -> dict[str, Any]:
        """Routes, as TensorBoard wants them: path to WSGI application."""
        apps = {f"/{path}": self._app(route) for path, route in ROUTES.items()}
        return {**apps, "/static/*": _serve_asset}

    def is_active(self) -> bool:
        """Asked only where no run holds data of `data_plugin_names`.

        The tab then stands in TensorBoard's list of inactive ones and can be opened from there, and
        says how to write a first run. Were it always active, TensorBoard would open on it while the
        user's own curves are still loading.
        """
        return False

    def data_plugin_names(self) -> tuple[str, ...]:
        """Whose records make the tab active."""
        return schema.LAYERS_PLUGIN, schema.MAPS_PLUGIN

    def frontend_metadata(self) -> base_plugin.FrontendMetadata:
        """A page of our own, in an iframe."""
        return base_plugin.FrontendMetadata(es_module_path=assets.ENTRY, tab_name="Sparsity")

    def _app(self, route: Route) -> Any:
        def serve(request: wrappers.Request) -> wrappers.Response:
            return _reply(request, route, self._store)

        return wrappers.Request.application(serve)


@wrappers.Request.application
def _serve_asset(request: wrappers.Request) -> wrappers.Response:
    if request.method not in _METHODS:
        return _only_get(request)
    name = request.path.rpartition("/static/")[2]
    asset = assets.find(name)
    if asset is None:
        return _problem(request, 404, f"the page has no file {name!r}")
    return _respond(request, asset.digest, asset.media_type, lambda: asset.content)


# -- replying -------------------------------------------------------------------------------------


def _reply(request: wrappers.Request, route: Route, store: MeasurementStore) -> wrappers.Response:
    if request.method not in _METHODS:
        return _only_get(request)
    try:
        query = Query(request.args, route.parameters)
        answer = route.answer(store, Scope.of(request.environ), query)
        digest = _digest((sorted(request.args.items()), answer.state))
        return _respond(request, digest, route.media_type, answer.body)
    except UsageError as error:
        return _problem(request, 400, str(error))
    except NotRecorded as error:
        return _problem(request, 404, str(error))
    except RunError as error:
        return _problem(request, 503, str(error))


def _respond(
    request: wrappers.Request,
    digest: str,
    media_type: str,
    body: Callable[[], bytes | Mapping[str, Any]],
) -> wrappers.Response:
    headers = [("ETag", f'W/"{digest}"'), ("Vary", "Accept-Encoding")]
    if request.if_none_match.contains_weak(digest):
        unchanged = _send(request, b"", media_type, code=304, headers=headers)
        return _NotModified(status=304, headers=unchanged.headers)
    content = body()
    if not isinstance(content, bytes):
        content = json.dumps(content, separators=(",", ":"), allow_nan=False).encode()
    # TensorBoard compresses text itself.
    if media_type != _BINARY or not request.accept_encodings["gzip"]:
        return _send(request, content, media_type, headers=headers)
    packed = gzip.compress(content, compresslevel=1, mtime=0)
    return _send(request, packed, media_type, headers=headers, content_encoding="gzip")


def _only_get(request: wrappers.Request) -> wrappers.Response:
    answer = _problem(request, 405, "only GET and HEAD are allowed")
    answer.headers["Allow"] = ", ".join(_METHODS)
    return answer


def _problem(request: wrappers.Request, code: int, sentence: str) -> wrappers.Response:
    bounded = sentence if len(sentence) <= 1000 else f"{sentence[:990]} …"
    return _send(request, json.dumps({"error": bounded}).encode(), _JSON, code=code)


class _NotModified(wrappers.Response):
    """A 304 that keeps its Content-Type: werkzeug removes it, and TensorBoard demands it."""

    def get_wsgi_headers(self, environ: WSGIEnvironment) -> Headers:
        headers = super().get_wsgi_headers(environ)
        headers["Content-Type"] = self.headers["Content-Type"]
        return headers


def _send(
    request: wrappers.Request, content: bytes, media_type: str, **options: Any
) -> wrappers.Response:
    """With the headers that TensorBoard demands: no sniffing, no stale copies, content policy."""
    response: wrappers.Response = http_util.Respond(request, content, media_type, **options)
    return response


def _digest(state: object) -> str:
    return hashlib.sha256(repr(state).encode(errors="surrogatepass")).hexdigest()[:20]
