"""BR 3.2.2.4.19 and 3.2.2.5.6: ACME http-01 (RFC 8555 section 8.3, RFC 8738 section 4)."""

from __future__ import annotations

from typing import Final

from appliance.checks.context import CheckContext
from appliance.checks.found import Found, compare, shown
from appliance.checks.website import fetch, website_url
from appliance.model.check import AcmeHttp01Check, UrlScheme
from appliance.model.identifier import Identifier
from appliance.net.http.exchange import STEP_BODY
from appliance.net.trace import Trace

PATH: Final = "/.well-known/acme-challenge/"
# A key authorization is a token and a 43-character thumbprint; what is longer than this is another page.
MAX_BODY_BYTES: Final = 8 * 1024


async def check(identifier: Identifier, parameters: AcmeHttp01Check, context: CheckContext, trace: Trace) -> Found:
    """The body under the token's path, trailing white space stripped, is the key authorization."""
    url = website_url(identifier, UrlScheme.HTTP, PATH + parameters.token)
    page = await fetch(url, parameters.http_headers, MAX_BODY_BYTES, context, trace)
    body = page.body.rstrip()
    trace.seen.append(shown(body))
    matched = not page.body_cut and body == parameters.key_authorization.encode()
    return compare(matched, STEP_BODY, "the key authorization")
