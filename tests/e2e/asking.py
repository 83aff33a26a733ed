"""Requests that the end-to-end tests make, in the form of the Open MPIC API."""

from __future__ import annotations

from typing import Any

from tests.lab.appliance import Appliance

TOKEN = "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0"
KEY_AUTHORIZATION = f"{TOKEN}.9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI"
DIGEST = "ghRCE7ZwHKjsEHvFqGPnZpHcVwzV7cwFJrYmuFxAWcU"
BENCH_TOKEN = "bench-token"


def caa(name: str) -> dict[str, Any]:
    return {"check_type": "caa", "domain_or_ip_target": name}


def http_01(name: str, token: str = TOKEN, key_authorization: str = KEY_AUTHORIZATION) -> dict[str, Any]:
    parameters = {"validation_method": "acme-http-01", "token": token, "key_authorization": key_authorization}
    return {"check_type": "dcv", "domain_or_ip_target": name, "dcv_check_parameters": parameters}


def dns_01(name: str, digest: str = DIGEST) -> dict[str, Any]:
    parameters = {"validation_method": "acme-dns-01", "key_authorization_hash": digest}
    return {"check_type": "dcv", "domain_or_ip_target": name, "dcv_check_parameters": parameters}


def decide(appliance: Appliance, body: dict[str, Any]) -> dict[str, Any]:
    """The answer to a request that is well-formed."""
    response = appliance.ask("POST", "/mpic", body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def corroborating(answer: dict[str, Any]) -> set[str]:
    """Codes of the remote perspectives that corroborate."""
    return {part["perspective_code"] for part in answer["perspectives"] if part["check_response"]["check_passed"]}
