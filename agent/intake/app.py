"""The intake's few addresses, in Flask: `POST /in/<sender>`, `POST /in/<sender>/<secret>`, `GET /healthz`."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from agent.intake.reception import Answer, Reception, Request, wrong
from agent.intake.ways import Caller
from agent.intake.wire import plain_address

log = logging.getLogger("agent")


class _Quiet(Flask):
    def log_exception(self, exc_info: Any) -> None:
        """A bug goes to the log without the path, in which a secret may stand."""
        log.error("a bug in the intake: a request was not worked off", exc_info=exc_info)


def app(reception: Reception) -> Flask:
    """The WSGI application; whatever is answered is JSON."""
    made = _Quiet(__name__, static_folder=None, root_path="/", instance_path="/")
    made.url_map.merge_slashes = False

    def receive(name: str, segment: str = "") -> Response:
        return _response(_received(reception, name, segment))

    def well() -> Response:
        return Response("ok\n", mimetype="text/plain")

    def refused(error: HTTPException) -> Response:
        return _response(wrong(HTTPStatus(error.code or 500), error.name.lower()))

    made.add_url_rule("/healthz", view_func=well, methods=["GET"], provide_automatic_options=False)
    for rule in ("/in/<name>", "/in/<name>/<segment>"):
        made.add_url_rule(rule, "receive", receive, methods=["POST"], provide_automatic_options=False)
    made.register_error_handler(HTTPException, refused)
    return made


def _received(reception: Reception, name: str, segment: str) -> Answer:
    environ = request.environ
    if environ["wsgi.input_terminated"] or "CONTENT_LENGTH" not in environ:
        return wrong(HTTPStatus.LENGTH_REQUIRED, "Content-Length is missing; chunks are not taken")
    caller = Caller(
        address=plain_address(environ["REMOTE_ADDR"]) if environ["REMOTE_ADDR"] else "",
        uid=int(environ["X_REMOTE_UID"]) if "X_REMOTE_UID" in environ else None,
        names=environ.get("intake.names", frozenset()),
        headers=_headers(environ),
        segment=segment,
    )
    return reception.receive(Request(name, caller, int(environ["CONTENT_LENGTH"]), environ["wsgi.input"].read))


def _headers(environ: Mapping[str, Any]) -> dict[str, str]:
    return {key[5:].replace("_", "-").lower(): value for key, value in environ.items() if key.startswith("HTTP_")}


def _response(answer: Answer) -> Response:
    made = Response(json.dumps(answer.body) + "\n", answer.status, mimetype="application/json")
    if answer.again:
        made.headers["Retry-After"] = str(answer.again)
    if answer.status == HTTPStatus.UNAUTHORIZED:
        made.headers["WWW-Authenticate"] = "Bearer"
    return made
