"""What the methods that read a page from the applicant's website share."""

from __future__ import annotations

from appliance.checks.context import CheckContext
from appliance.checks.found import Mismatched
from appliance.model.check import HttpHeaders, UrlScheme
from appliance.model.identifier import Identifier, IdentifierType
from appliance.net.http.exchange import STEP_HEAD, Answer
from appliance.net.http.url import DEFAULT_PORTS, Url
from appliance.net.trace import Trace


def website_url(identifier: Identifier, scheme: UrlScheme, path: str) -> Url:
    """Where the method's page is, at the scheme's own port."""
    return Url(scheme.value, identifier.value, DEFAULT_PORTS[scheme.value], path, identifier.type is IdentifierType.IP)


async def fetch(url: Url, headers: HttpHeaders, max_body_bytes: int, context: CheckContext, trace: Trace) -> Answer:
    """The page at the end of the redirects. Raises `StepFailed`, and `Mismatched` where its status is not 2xx."""
    answer, final = await context.http.get(url, headers, max_body_bytes, trace)
    if not 200 <= answer.status < 300:
        raise Mismatched("http.status", f"{final} answered {answer.status}, not 2xx", STEP_HEAD)
    return answer
