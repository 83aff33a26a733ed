"""The one door to every check: `run`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from appliance.checks import (
    acme_dns_01,
    acme_http_01,
    acme_tls_alpn_01,
    caa,
    contact_email_caa,
    contact_email_txt,
    contact_phone_caa,
    contact_phone_txt,
    dns_account_01,
    dns_change,
    dns_persistent,
    ip_address,
    reverse_address_lookup,
    website_change,
)
from appliance.checks.context import CheckContext, open_context
from appliance.checks.found import Found, Mismatched
from appliance.checks.observe import observation
from appliance.model.check import CheckRequest, Method, method_of
from appliance.model.identifier import Identifier
from appliance.model.observation import CheckError, Fault, Observation
from appliance.net.trace import StepFailed, Trace
from appliance.net.validatable import unvalidatable
from appliance.policy.identifiers import identifier_problem
from appliance.policy.methods import refusal

__all__ = ["CheckContext", "open_context", "run"]

_log = logging.getLogger(__name__)
_Method = Callable[[Identifier, Any, CheckContext, Trace], Awaitable[Found]]

_METHODS: Final[dict[Method, _Method]] = {
    Method.CAA: caa.check,
    Method.WEBSITE_CHANGE: website_change.check,
    Method.ACME_HTTP_01: acme_http_01.check,
    Method.ACME_TLS_ALPN_01: acme_tls_alpn_01.check,
    Method.ACME_DNS_01: acme_dns_01.check,
    Method.DNS_ACCOUNT_01: dns_account_01.check,
    Method.DNS_PERSISTENT: dns_persistent.check,
    Method.DNS_CHANGE: dns_change.check,
    Method.CONTACT_EMAIL_CAA: contact_email_caa.check,
    Method.CONTACT_EMAIL_TXT: contact_email_txt.check,
    Method.CONTACT_PHONE_CAA: contact_phone_caa.check,
    Method.CONTACT_PHONE_TXT: contact_phone_txt.check,
    Method.IP_ADDRESS: ip_address.check,
    Method.REVERSE_ADDRESS_LOOKUP: reverse_address_lookup.check,
}


async def run(request: CheckRequest, context: CheckContext) -> Observation:
    """Run one check and return what was seen. Never raises: a cancelled task still returns its observation.

    A deadline (`request.deadline_ms`) or a cancellation ends as outcome ERROR that names the step and keeps what was
    seen so far. An unexpected exception is logged and is outcome ERROR with the appliance at fault.
    """
    started_at = context.now()
    trace = Trace(request.deadline_ms / 1000)
    result: Found | CheckError
    try:
        async with asyncio.timeout(trace.deadline_s):
            result = await _check(request, context, trace)
    except Mismatched as mismatched:
        result = Found(False, mismatched.error)
    except StepFailed as failed:
        result = failed.error
    except TimeoutError:
        message = f"the deadline of {request.deadline_ms} ms ran out during {trace.step}"
        result = CheckError("check.deadline", message, trace.step)
    except asyncio.CancelledError:
        # Who cancels wants the evidence so far; the task ends with it instead of with the cancellation.
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()
        result = CheckError("check.cancelled", f"cancelled during {trace.step}", trace.step)
    except Exception as error:
        _log.exception("check %s failed unexpectedly during %s", request.request_id, trace.step)
        message = f"unexpected {type(error).__name__}"
        result = CheckError("check.unexpected", message, trace.step, Fault.APPLIANCE)
    return observation(request, context, started_at, trace, result)


async def _check(request: CheckRequest, context: CheckContext, trace: Trace) -> Found:
    identifier = request.identifier
    method = method_of(request.check)
    if request.perspective != context.perspective:
        problem: str | None = f"asked of perspective {request.perspective}, but this is {context.perspective}"
    else:
        problem = (
            identifier_problem(identifier)
            or unvalidatable(identifier, context.exceptions)
            or refusal(method, identifier)
        )
    if problem is not None:
        raise StepFailed("request.refused", f"{identifier.value[:255]!r} {problem}", trace.step, Fault.APPLIANCE)
    return await _METHODS[method](identifier, request.check, context, trace)
