"""Where open-mpic-core 6.5.0 and this product differ in the lab, and who is right by which rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Difference:
    """`targets`: first labels of names, or addresses. `method`: the validation method, or `caa`. `right`: who is, by `rule`."""

    method: str
    targets: frozenset[str]
    right: str
    rule: str

    def explains(self, request: dict[str, Any]) -> bool:
        """Whether `request` is one of those about which the two differ for this reason."""
        parameters = request.get("dcv_check_parameters", {"validation_method": "caa"})
        if parameters["validation_method"] != self.method:
            return False
        target = request["domain_or_ip_target"]
        return target in self.targets or target.removeprefix("*.").removeprefix("a.").partition(".")[0] in self.targets


def _ours(method: str, targets: str, rule: str) -> Difference:
    return Difference(method, frozenset(targets.split()), "ours", rule)


DIFFERENCES: Final = (
    _ours(
        "caa", "account doubled", "RFC 8657 section 3: accounturi that is not the account's forbids; doubled, always"
    ),
    _ours("caa", "method", "RFC 8657 section 4: validationmethods that do not name the method forbid"),
    _ours("caa", "www", "BR 3.2.2.8: an answer that is bogus is no look-up failure that permits"),
    _ours("caa", "foo", "RFC 8659 section 3: under no top-level domain there is no tree to climb"),
    _ours(
        "caa",
        "x 13 15 19 cname-loop todark tobroken",
        "BR 3.2.2.8: a failure permits only where the zone's own servers show it, and never for a limit of ours",
    ),
    _ours("acme-http-01", "pieces", "RFC 9112 section 6: a body is whole in however many packets it comes"),
    _ours(
        "website-change",
        "reflect reflecttwice reflectpath reflecthost",
        "BR 3.2.2.4.18: the value is not in the request, in whatever encoding",
    ),
    _ours("acme-tls-alpn-01", "alpn-issued", "RFC 8737 section 3: the certificate is self-signed"),
    _ours("acme-tls-alpn-01", "alpn-none", "RFC 8737 section 3: acme-tls/1 is negotiated"),
    _ours(
        "acme-dns-01",
        "stolen delegated",
        "BR 3.2.2.4.7: into a zone of the CA's, at the name given to the applicant alone",
    ),
    _ours("contact-email-caa", "contact", "RFC 5321 section 2.4: case counts in a local part"),
    _ours("contact-phone-caa", "contact", "RFC 3966 section 4: visual separators do not count"),
    _ours("contact-phone-txt", "contact", "RFC 3966 section 4: visual separators do not count"),
    _ours("dns-account-01", "txt", "BR 3.2.2.4.21: the method is in the table; there it is not offered"),
    _ours("dns-persistent", "198.18.20.80", "BR 3.2.2.5.8: the record is in the reverse namespace"),
    _ours("reverse-address-lookup", "198.18.20.80", "BR 3.2.2.5.3: what is asked for is made of the IP address"),
    Difference("acme-dns-01", frozenset({"long"}), "both", "no rule: how many CNAMEs are followed is configured here"),
)
