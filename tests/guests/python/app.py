"""`/` says hello; `/fetch?url=` reports what became of a call."""

import json
from urllib.parse import parse_qs, urlsplit

from componentize_py_types import Err, Ok
from wit_world.exports import IncomingHandler as Exports
from wit_world.imports import outgoing_handler
from wit_world.imports.types import (
    Fields,
    IncomingBody,
    IncomingRequest,
    OutgoingBody,
    OutgoingRequest,
    OutgoingResponse,
    ResponseOutparam,
    Scheme_Http,
    Scheme_Https,
)


class IncomingHandler(Exports):
    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        target = urlsplit(request.path_with_query() or "/")
        if target.path == "/fetch":
            url = parse_qs(target.query).get("url", [""])[0]
            reply(response_out, "application/json", json.dumps(call(url)))
        else:
            reply(response_out, "text/plain; charset=utf-8", "hello from python\n")


def call(url: str) -> dict:
    parts = urlsplit(url)
    request = OutgoingRequest(Fields())
    request.set_scheme(Scheme_Https() if parts.scheme == "https" else Scheme_Http())
    request.set_authority(parts.netloc)
    request.set_path_with_query(parts.path or "/")
    try:
        answer = outgoing_handler.handle(request, None)
        answer.subscribe().block()
        result = answer.get().value
        if isinstance(result, Err):
            return {"error": type(result.value).__name__}
        return {"status": result.value.status(), "body": read(result.value.consume())}
    except Err as error:
        return {"error": type(error.value).__name__}


def read(body: IncomingBody) -> str:
    text = b""
    with body.stream() as stream:
        while True:
            try:
                text += stream.blocking_read(65_536)
            except Err:
                return text.decode(errors="replace")


def reply(response_out: ResponseOutparam, media_type: str, text: str) -> None:
    response = OutgoingResponse(Fields.from_list([("content-type", media_type.encode())]))
    body = response.body()
    ResponseOutparam.set(response_out, Ok(response))
    with body.write() as stream:
        stream.blocking_write_and_flush(text.encode()[:4096])
    OutgoingBody.finish(body, None)
