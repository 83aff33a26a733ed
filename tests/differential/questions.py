"""A few hundred questions about the lab's targets: the conformance table, and variations over its names."""

from __future__ import annotations

from itertools import product
from typing import Any, Final

from tests.conformance.table import ACCOUNT, DIGEST, TABLE, VALUE
from tests.e2e.asking import KEY_AUTHORIZATION, TOKEN

_CAA_NAMES: Final = (
    "issue", "forbid", "both", "malformed", "critical", "noncritical", "wildonly", "wild", "tag", "account", "method",
    "doubled", "mail", "nomail", "caaalias", "caaaliasbelow", "contact", "web",
)  # fmt: skip
_TXT_NAMES: Final = ("txt", "split", "case", "spaced", "cname", "upper", "none")
_HOSTS: Final = ("web", "plainmiss", "space", "binary", "redir", "redir303", "redirport", "redirscheme", "other")


def _dcv(target: str, method: str, **parameters: Any) -> dict[str, Any]:
    return {
        "check_type": "dcv",
        "domain_or_ip_target": target,
        "dcv_check_parameters": {"validation_method": method, **parameters},
    }


def questions() -> list[dict[str, Any]]:
    """Bodies of the API; each is well-formed to both sides."""
    asked = [row.body for row in TABLE if "silent" not in row.target]
    for name, wild, below, kind, issuer in product(
        _CAA_NAMES, ("", "*."), ("", "a."), ("tls-server", "s-mime"), ("ca.example", "other.example")
    ):
        if wild and kind == "s-mime":
            continue
        caa = {"certificate_type": kind, "caa_domains": [issuer]}
        target = f"{wild}{below}{name}.check.test"
        asked.append({"check_type": "caa", "domain_or_ip_target": target, "caa_check_parameters": caa})
    for name, prefix, exact, value in product(_TXT_NAMES, ("", "_dnsauth"), (True, False), (VALUE, "before the")):
        parameters: dict[str, Any] = {"dns_name_prefix": prefix, "require_exact_match": exact, "challenge_value": value}
        asked.append(_dcv(f"{name}.check.test", "dns-change", dns_record_type="TXT", **parameters))
    for name in _TXT_NAMES:
        asked.append(_dcv(f"{name}.check.test", "acme-dns-01", key_authorization_hash=DIGEST[::-1]))
        persistent: dict[str, Any] = {
            "issuer_domain_names": ["other.example", "ca.example"],
            "expected_account_uri": ACCOUNT,
        }
        asked.append(_dcv(f"{name}.check.test", "dns-persistent", **persistent))
    for name in _HOSTS:
        website: dict[str, Any] = {"http_token_path": "file.txt", "challenge_value": VALUE}
        asked.append(_dcv(f"{name}.check.test", "website-change", **website))
        asked.append(_dcv(f"{name}.check.test", "acme-http-01", token=TOKEN, key_authorization=KEY_AUTHORIZATION[:-1]))
    return asked
