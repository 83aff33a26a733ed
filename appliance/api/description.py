"""The OpenAPI 3.1 description of the API, made from the types that the code itself reads and writes."""

from __future__ import annotations

from typing import Any

from appliance import __version__
from appliance.api.draft.request import DraftRequest
from appliance.api.draft.response import DraftAnswer
from appliance.api.errors import ErrorBody
from appliance.api.http import Handler, HttpRequest, HttpResponse, Routes, json_response
from appliance.api.openmpic.request import CaaRequest, DcvRequest
from appliance.api.openmpic.response import CaaResponse, DcvResponse
from appliance.api.own_evidence import OwnRecords
from appliance.api.schemas import Components, Schema
from appliance.model.check import CheckRequest
from appliance.model.health import WorkerStatus
from appliance.model.observation import Observation
from appliance.model.status import Readiness

PATH = "/openapi.json"
_REFERENCE = "#/components/schemas/{model}"
_REFUSALS = {
    "400": "What is wrong, and where.",
    "401": "On TCP: no API key, or an unknown one.",
    "403": "On TCP: the certificate is not registered, or this path is not for this caller.",
    "413": "The body is larger than 64 KiB.",
    "415": "The body is not application/json.",
    "429": "The caller asks too much; see Retry-After.",
    "503": "Too much is being decided, no evidence can be kept, or the clock cannot be trusted; see Retry-After.",
}


def description() -> dict[str, Any]:
    """The document."""
    components = Components()
    for model in (DcvRequest, CaaRequest, DraftRequest):
        schema = model.model_json_schema(ref_template=_REFERENCE)
        components.schemas[model.__name__] = components.add_pydantic(schema)
    asked = {"anyOf": [{"$ref": f"#/components/schemas/{one.__name__}"} for one in (DcvRequest, CaaRequest)]}
    answered = {"anyOf": [components.reference(one) for one in (DcvResponse, CaaResponse)]}
    error = components.reference(ErrorBody)
    mpic = _post("Decide by all perspectives (Open MPIC).", asked, answered, error)
    draft = {"$ref": "#/components/schemas/DraftRequest"}
    return {
        "openapi": "3.1.0",
        "info": {"title": "mpic-appliance", "version": __version__, "license": {"name": "Apache-2.0"}},
        "paths": {
            "/mpic": mpic,
            "/v1/mpic": mpic,
            "/mpic/draft-00": _post(
                "Decide by all perspectives (draft-westerbaan-alldispatch-mpic).",
                draft,
                components.reference(DraftAnswer),
                error,
            ),
            "/perspectives/{code}": _of_a_perspective(
                {
                    "get": _operation(
                        "The state of one perspective.", components.reference(WorkerStatus), error, ("404",)
                    )
                }
            ),
            "/perspectives/{code}/check": _of_a_perspective(
                _post(
                    "What one perspective sees; nothing is decided.",
                    components.reference(CheckRequest),
                    components.reference(Observation),
                    error,
                    ("404", "504"),
                )
            ),
            "/evidence": _paged(
                _operation("What this caller asked, and what came of it.", components.reference(OwnRecords), error)
            ),
            "/healthz": {
                "get": {**_operation("Whether the process answers.", {"type": "object"}, error), "security": []}
            },
            "/readyz": {"get": _ready(components.reference(Readiness))},
            PATH: {"get": _operation("This document.", {"type": "object"}, error)},
        },
        "components": {
            "schemas": dict(sorted(components.schemas.items())),
            "securitySchemes": {
                "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                "bearer": {"type": "http", "scheme": "bearer"},
                "certificate": {"type": "mutualTLS"},
            },
        },
        "security": [{"apiKey": []}, {"bearer": []}, {"certificate": []}],
    }


def description_routes() -> Routes:
    """`GET /openapi.json`."""
    document = json_response(description())

    async def answer(_request: HttpRequest) -> HttpResponse:
        return document

    routes: dict[str, Handler] = {"GET": answer}
    return {PATH: routes}


def _post(summary: str, asked: Schema, answered: Schema, error: Schema, more: tuple[str, ...] = ()) -> Schema:
    operation = _operation(summary, answered, error, more)
    operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": asked}}}
    return {"post": operation}


def _operation(summary: str, answered: Schema, error: Schema, more: tuple[str, ...] = ()) -> Schema:
    further = {"404": "There is no such perspective here.", "504": "No answer within the deadline."}
    refusals = _REFUSALS | {status: further[status] for status in more}
    return {
        "summary": summary,
        "responses": {
            "200": {"description": "The answer.", "content": {"application/json": {"schema": answered}}},
            **{
                status: {"description": text, "content": {"application/json": {"schema": error}}}
                for status, text in refusals.items()
            },
        },
    }


def _paged(operation: Schema) -> Schema:
    after = {
        "name": "after",
        "in": "query",
        "description": "Records above this number.",
        "schema": {"type": "integer", "minimum": 0, "maximum": 10**18 - 1, "default": 0},
    }
    return {"parameters": [after], "get": operation}


def _of_a_perspective(item: Schema) -> Schema:
    code = {
        "name": "code",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "pattern": "^[a-z0-9][a-z0-9-]*$"},
    }
    return {"parameters": [code], **item}


def _ready(schema: Schema) -> Schema:
    content = {"application/json": {"schema": schema}}
    texts = {"200": "A compliant quorum is possible.", "503": "It is not; the reasons."}
    return {
        "summary": "Whether a compliant quorum is possible now.",
        "responses": {status: {"description": text, "content": content} for status, text in texts.items()},
    }
