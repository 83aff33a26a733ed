#!/usr/bin/env python3
"""Asks for an acme-http-01 decision with nothing but the standard library. Exit code 0: corroborated, 1: refused, 2: not asked.

Usage: MPIC_KEY=mpic_… ask.py DOMAIN TOKEN KEY_AUTHORIZATION [URL]
"""

import json
import os
import sys
import urllib.error
import urllib.request


def main() -> int:
    """One question, one exit code."""
    domain, token, key_authorization = sys.argv[1:4]
    url = sys.argv[4] if len(sys.argv) > 4 else "http://127.0.0.1:8090"
    question = {
        "check_type": "dcv",
        "domain_or_ip_target": domain,
        "dcv_check_parameters": {
            "validation_method": "acme-http-01",
            "token": token,
            "key_authorization": key_authorization,
        },
    }
    request = urllib.request.Request(  # noqa: S310 -- the operator's own URL
        f"{url}/mpic",
        json.dumps(question).encode(),
        {"content-type": "application/json", "x-api-key": os.environ["MPIC_KEY"]},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
            answer = json.load(response)
    except urllib.error.HTTPError as error:
        print(f"HTTP {error.code}: {error.read().decode()}", file=sys.stderr)  # noqa: T201
        return 2
    except OSError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    print(f"{domain}: {answer['quorum']} {'; '.join(answer['reasons'])}")  # noqa: T201
    return 0 if answer["is_valid"] is True else 1


if __name__ == "__main__":
    sys.exit(main())
