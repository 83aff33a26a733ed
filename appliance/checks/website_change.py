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
from appliance.policy.pattern import Pattern, WorkExceeded

PATH: Final = "/.well-known/pki-validation/"
MAX_BODY_BYTES: Final = 64 * 1024


async def check(identifier: Identifier, parameters: WebsiteChangeCheck, context: CheckContext, trace: Trace) -> Found:
    """The value is in the first 64 KiB of the page, and in none of the requests; `match_regex` also matches there.

    The expression is searched in the page without white space at its ends.
    """
    pattern = None if parameters.match_regex is None else Pattern(parameters.match_regex)
    url = website_url(identifier, parameters.url_scheme, PATH + parameters.http_token_path)
    page = await fetch(url, parameters.http_headers, MAX_BODY_BYTES, context, trace)
    value = parameters.challenge_value
    body = page.body.strip()
    trace.seen.append(shown(body))
    if any(value in hop.url for hop in trace.hops) or any(value in text for _, text in parameters.http_headers):
        raise Mismatched("website.value-in-request", "the value is in a request that led to the page", STEP_BODY)
    found = compare(bool(value) and value.encode() in body, STEP_BODY, "the expected value")
    if not found.matched or pattern is None:
        return found
    try:
        return compare(pattern.search(body), STEP_BODY, "what match_regex asks for")
    except WorkExceeded as error:
        raise StepFailed("website.pattern", str(error), STEP_BODY) from error
