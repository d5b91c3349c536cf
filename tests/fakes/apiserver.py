"""An API server in this process, on loopback, with the faults that a real one shows at bad times.

It knows no schema: any kind is stored as it comes. What it does know is what clients rely on:
resourceVersions and conflicts, finalizers, paged lists that show one state, watches that replay,
bookmark, expire and break. Server-side apply is a merge here; only a real server knows better.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import msgspec
from aiohttp import web

from kube.config import Endpoint
from kube.meta import Key, Manifest, Resource
from tests.fakes.apiobjects import ApiObjects, Change, Collection, Refusal, Target, parse
from tests.fakes.selectors import Selector


class Request(NamedTuple):
    method: str
    path: str
    query: dict[str, str]
    body: Manifest


@dataclass
class Fault:
    """Befalls the next `times` requests that match, instead of (or after) their effect."""

    times: int
    refusal: Refusal | None = None
    after_effect: bool = False
    matches: Callable[[Request], bool] = lambda request: True


@dataclass(eq=False)
class Watcher:
    """An open stream. None in the queue ends it, an exception breaks the connection."""

    collection: Collection
    namespace: str
    selector: Selector
    lines: asyncio.Queue[bytes | ConnectionError | None] = field(default_factory=asyncio.Queue)

    def tell(self, change: Change) -> None:
        if change.collection != self.collection:
            return
        old = change.old is not None and self._sees(change.old)
        new = change.new is not None and self._sees(change.new)
        if new:
            self.send("MODIFIED" if old else "ADDED", change.new)
        elif old:
            self.send("DELETED", change.old)

    def send(self, type_: str, obj: Any) -> None:
        self.lines.put_nowait(msgspec.json.encode({"type": type_, "object": obj}) + b"\n")

    def _sees(self, obj: Manifest) -> bool:
        in_namespace = not self.namespace or obj["metadata"].get("namespace") == self.namespace
        return in_namespace and self.selector.matches(obj)


class FakeApiServer:
    """`async with FakeApiServer() as server: Client(server.endpoint, …)`"""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.delay = 0.0
        """Seconds before each answer."""
        self.token = ""
        """When set, requests must bear it."""
        self.html = False
        """Refuse as a proxy does, without a Status."""
        self.logs: dict[tuple[str, str], str] = {}
        """What containers have written, by pod and container; only the tail is given."""
        self.watchers: list[Watcher] = []
        self.objects = ApiObjects(self._happened)
        self._history: list[Change] = []
        self._oldest = 0
        self._pages: dict[str, tuple[int, list[Manifest]]] = {}
        self._runner: web.AppRunner | None = None
        self.port = 0

    # --- the world, as tests see and change it -----------------------------------------------

    @property
    def blocked_evictions(self) -> set[Key]:
        """Pods that a disruption budget protects."""
        return self.objects.blocked_evictions

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(f"http://127.0.0.1:{self.port}")

    def put(self, resource: Resource[Any], manifest: Manifest) -> Manifest:
        """Create or replace, without any check; the stored object."""
        obj = copy.deepcopy(manifest)
        obj.setdefault("apiVersion", resource.api_version)
        obj.setdefault("kind", resource.kind)
        return self.objects.store((resource.group, resource.plural), obj)

    def remove(self, resource: Resource[Any], name: str, namespace: str = "") -> None:
        """Gone at once, finalizers or not."""
        self.objects.drop((resource.group, resource.plural), Key(namespace, name))

    def get(self, resource: Resource[Any], name: str, namespace: str = "") -> Manifest | None:
        found = self.objects.all((resource.group, resource.plural)).get(Key(namespace, name))
        return copy.deepcopy(found)

    def list(self, resource: Resource[Any]) -> list[Manifest]:
        return [
            copy.deepcopy(item)
            for item in self.objects.all((resource.group, resource.plural)).values()
        ]

    # --- faults ------------------------------------------------------------------------------

    def refuse(
        self,
        times: int,
        code: int,
        reason: str = "",
        *,
        retry_after: float | None = None,
        after_effect: bool = False,
        method: str = "",
        watch: bool | None = None,
    ) -> None:
        """The next `times` requests (of that method; only watches, or none) answer `code`."""
        refusal = Refusal(code, reason, f"refused with {code}", retry_after)
        self._fault(Fault(times, refusal, after_effect), method, watch)

    def disconnect(
        self, times: int, *, after_effect: bool = False, method: str = "", watch: bool | None = None
    ) -> None:
        """The next requests lose their connection before, or after, they took effect."""
        self._fault(Fault(times, None, after_effect), method, watch)

    def expire_pages(self) -> None:
        """Every `continue` token given so far is too old."""
        self._pages.clear()

    def compact(self) -> None:
        """Every resourceVersion up to now is too old to watch from."""
        self._history.clear()
        self._oldest = self.objects.version

    def bookmark(self) -> None:
        for watcher in self.watchers:
            watcher.send("BOOKMARK", {"metadata": {"resourceVersion": str(self.objects.version)}})

    def error_in_streams(self, code: int, reason: str = "") -> None:
        """An ERROR event on every open watch, which ends it."""
        for watcher in self.watchers:
            watcher.send("ERROR", Refusal(code, reason, f"in-stream {code}").status)
            watcher.lines.put_nowait(None)

    def send_in_streams(self, line: bytes) -> None:
        """Anything, as it is."""
        for watcher in self.watchers:
            watcher.lines.put_nowait(line)

    def end_streams(self, *, broken: bool = False) -> None:
        for watcher in self.watchers:
            watcher.lines.put_nowait(ConnectionError() if broken else None)

    def _fault(self, fault: Fault, method: str, watch: bool | None) -> None:
        def matches(request: Request) -> bool:
            is_watch = "watch" in request.query
            return (not method or request.method == method) and watch in (None, is_watch)

        fault.matches = matches
        self.faults.append(fault)

    # --- HTTP --------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 * 1024**2)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.end_streams()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, http: web.Request) -> web.StreamResponse:
        raw = await http.read()
        body = msgspec.json.decode(raw) if raw else {}
        request = Request(http.method, http.path, dict(http.query), body)
        self.requests.append(request)
        if self.delay:
            await asyncio.sleep(self.delay)
        fault = next((f for f in self.faults if f.times and f.matches(request)), None)
        try:
            if self.token and http.headers.get("Authorization") != f"Bearer {self.token}":
                raise Refusal(401, "Unauthorized", "Unauthorized")
            if fault is not None and not fault.after_effect:
                return self._befall(fault, http)
            target = parse(http.path)
            if http.method == "GET" and request.query.get("watch") == "true":
                return await self._watch(http, target, request.query)
            if target.subresource == "log":
                return web.Response(text=self._log(target.name, request.query))
            code, answer = self._serve(request, target, http.content_type)
            if fault is not None:
                return self._befall(fault, http)
            return web.json_response(body=msgspec.json.encode(answer), status=code)
        except Refusal as refusal:
            headers = {"Retry-After": str(refusal.retry_after)} if refusal.retry_after else {}
            status = b"<html>no</html>" if self.html else msgspec.json.encode(refusal.status)
            return web.json_response(body=status, status=refusal.code, headers=headers)

    def _befall(self, fault: Fault, http: web.Request) -> web.Response:
        fault.times -= 1
        if fault.refusal is not None:
            raise fault.refusal
        if http.transport is not None:
            http.transport.abort()
        return web.Response()

    def _serve(self, request: Request, target: Target, kind: str) -> tuple[int, Manifest]:
        if request.method == "GET":
            if not target.name:
                return 200, self._list(target, request.query)
            return 200, self.objects.known(target)
        if request.method == "POST":
            return 201, self.objects.post(target, request.body)
        if request.method == "PATCH":
            return 200, self.objects.patch(target, request.body, kind)
        if request.method == "DELETE":
            return 200, self.objects.delete(target, request.body)
        raise Refusal(405, "MethodNotAllowed", request.method)

    def _log(self, pod: str, query: dict[str, str]) -> str:
        if (log := self.logs.get((pod, query["container"]))) is None:
            raise Refusal(400, "BadRequest", f"container {query['container']} is waiting to start")
        lines = log.splitlines(keepends=True)[-int(query["tailLines"]) :]
        return "".join(lines)[: int(query["limitBytes"])]

    def _list(self, target: Target, query: dict[str, str]) -> Manifest:
        if token := query.get("continue"):
            if token not in self._pages:
                raise Refusal(410, "Expired", "the provided continue parameter is too old")
            version, items = self._pages[token]
        else:
            selector = Selector.of(query)
            version = self.objects.version
            items = [
                item
                for key, item in sorted(self.objects.all(target.collection).items())
                if target.namespace in ("", key.namespace) and selector.matches(item)
            ]
        limit = int(query.get("limit") or 0) or len(items)
        metadata: Manifest = {"resourceVersion": str(version)}
        if items[limit:]:
            metadata["continue"] = f"page-{len(self._pages)}"
            self._pages[metadata["continue"]] = (version, items[limit:])
        # A real server leaves kind and apiVersion off the items of built-in kinds.
        return {"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items[:limit]}

    async def _watch(
        self, http: web.Request, target: Target, query: dict[str, str]
    ) -> web.StreamResponse:
        since = int(query.get("resourceVersion") or 0)
        if since < self._oldest:
            raise Refusal(410, "Expired", f"too old resource version: {since}")
        watcher = Watcher(target.collection, target.namespace, Selector.of(query))
        for change in self._history:
            if change.version > since:
                watcher.tell(change)
        self.watchers.append(watcher)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        try:
            await response.prepare(http)
            async with asyncio.timeout(float(query.get("timeoutSeconds") or 300)):
                await self._pump(http, response, watcher)
        except (TimeoutError, ConnectionError):
            pass
        finally:
            self.watchers.remove(watcher)
        return response

    async def _pump(
        self, http: web.Request, response: web.StreamResponse, watcher: Watcher
    ) -> None:
        while (line := await watcher.lines.get()) is not None:
            if isinstance(line, ConnectionError):
                if http.transport is not None:
                    http.transport.abort()
                return
            await response.write(line)

    def _happened(self, change: Change) -> None:
        self._history.append(change)
        for watcher in self.watchers:
            watcher.tell(change)
