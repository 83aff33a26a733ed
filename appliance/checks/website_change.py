"""BR 3.2.2.4.18 and 3.2.2.5.1: a Random Value or Request Token on the applicant's website."""

from __future__ import annotations

from typing import Final

from appliance.checks.context import CheckContext
from appliance.checks.found import Found, Mismatched, compare, shown
from appliance.checks.website import fetch, website_url
from appliance.model.check import WebsiteChangeCheck
from appliance.model.identifier import Identifier
from appliance.net.http.exchange import STEP_BODY
from appliance.net.trace import StepFailed, Trace
from appliance.policy.parameters import PKI_VALIDATION_PATH
from appliance.policy.pattern import Pattern, WorkExceeded
from appliance.policy.reflection import EncodedTooOften, stands_in_request, too_short

MAX_BODY_BYTES: Final = 64 * 1024


async def check(identifier: Identifier, parameters: WebsiteChangeCheck, context: CheckContext, trace: Trace) -> Found:
    """The value is in the first 64 KiB of the page, and in none of the requests; `match_regex` also matches there.

    The expression is searched in the page without white space at its ends. It can only narrow what matches: a page needs
    the value in every case, so that a request that satisfies the expression by itself gains nothing.
    """
    pattern = None if parameters.match_regex is None else Pattern(parameters.match_regex)
    url = website_url(identifier, parameters.url_scheme, PKI_VALIDATION_PATH + parameters.http_token_path)
    page = await fetch(url, parameters.http_headers, MAX_BODY_BYTES, context, trace)
    value = parameters.challenge_value
    body = page.body.strip()
    trace.seen.append(shown(body))
    _refuse_reflection(value, trace)
    # A short value would be found by chance. The API refuses it, and here it shows nothing.
    found = compare(not too_short(value) and value.encode() in body, STEP_BODY, "the expected value")
    if not found.matched or pattern is None:
        return found
    try:
        return compare(pattern.search(body), STEP_BODY, "what match_regex asks for")
    except WorkExceeded as error:
        raise StepFailed("website.pattern", str(error), STEP_BODY) from error


def _refuse_reflection(value: str, trace: Trace) -> None:
    """Raise `Mismatched` where a request holds the value, `StepFailed` where our bound on decodings leaves it open."""
    try:
        if any(stands_in_request(value, hop.url, hop.head) for hop in trace.hops):
            raise Mismatched("website.value-in-request", "the value is in a request that led to the page", STEP_BODY)
    except EncodedTooOften as error:
        rule = f"a request that led to the page, or the value, is {error}: whether it holds the value stays open"
        raise StepFailed("website.encoded-too-often", rule, STEP_BODY) from error
