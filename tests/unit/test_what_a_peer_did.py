"""Faults that were seen in a peer, and the tests that hold each of them to be impossible here. `TESTS` is the list."""

from __future__ import annotations

import ast
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_HOSTILE = "tests/e2e/test_hostile.py"
_RUN, _CLIENT, _URL = (
    "tests/unit/checks/test_run.py",
    "tests/unit/net/test_http_client.py",
    "tests/unit/net/test_url.py",
)
_ALPN = "tests/unit/checks/test_acme_tls_alpn_01.py"

TESTS: dict[str, tuple[tuple[str, str], ...]] = {
    "http-01 accepted for a wildcard": (
        (_RUN, "test_http_01_is_not_for_wildcards"),
        ("tests/unit/policy/test_methods.py", "test_wildcards_and_addresses"),
        ("tests/e2e/test_check_commands.py", "test_what_cannot_be_asked"),
    ),
    "a right value lost when it comes in two packets": (
        (_CLIENT, "test_bodies_are_read_whole_however_they_come"),
        ("tests/unit/net/test_http_exchange.py", "test_however_it_is_cut"),
        ("tests/e2e/test_conformance.py", "test_row"),
    ),
    "the caller's http_headers replacing Host": ((_CLIENT, "test_the_callers_headers_frame_and_route_nothing"),),
    "a name with a port, path or user part reaching a checker": (
        (_RUN, "test_what_is_no_canonical_name_reaches_no_check"),
        (_RUN, "test_what_is_no_canonical_address_reaches_no_check"),
        ("tests/unit/coordinator/test_identifiers.py", "test_what_is_refused_says_why"),
        ("tests/e2e/test_requests.py", "test_malformed_requests"),
    ),
    "127.0.0.1 and ::1 contacted by literal, name and redirect": (
        (_CLIENT, "test_a_special_purpose_literal_is_never_connected_to"),
        (_CLIENT, "test_a_name_with_special_purpose_addresses_is_not_either"),
        (_CLIENT, "test_each_hop_is_resolved_and_refused_anew"),
        (_ALPN, "test_neither_wildcards_nor_special_purpose_addresses"),
        ("tests/system/test_resolver.py", "test_name_servers_at_special_purpose_addresses_are_not_asked"),
        (_HOSTILE, "test_each_ends_in_its_own_error_in_time"),
        (_HOSTILE, "nothing_special_is_reached"),
    ),
    "names with dead name servers making good names fail": (
        ("tests/unit/net/test_dns_resolver.py", "test_dead_names_do_not_starve_good_ones"),
        (_HOSTILE, "test_names_with_dead_name_servers_do_not_make_good_names_fail"),
    ),
    "a check going on after the caller was answered": (
        ("tests/unit/perspective/test_worker.py", "test_cancel_answers_with_what_was_seen_and_only_once"),
        (_RUN, "test_a_deadline_keeps_what_was_seen"),
        (_CLIENT, "test_a_cancelled_check_closes_its_connection"),
        (_HOSTILE, "test_nothing_goes_on_once_the_caller_is_answered"),
        (_HOSTILE, "test_a_chain_without_end_is_left_where_it_was_given_up"),
    ),
    "a regular expression or CAA value that burns seconds of CPU": (
        ("tests/unit/policy/test_pattern.py", "test_what_backtracks_elsewhere_is_linear_here"),
        ("tests/unit/policy/test_pattern.py", "test_work_is_bounded"),
        ("tests/unit/policy/test_caa.py", "test_hostile_values_take_linear_time"),
    ),
    "an error in one TXT record spoiling the check": (
        ("tests/unit/checks/test_acme_dns_01.py", "test_a_record_that_does_not_parse_spoils_no_other"),
    ),
    "a TLS-ALPN check costing 300 CPU ms and slowly breaking its process": (
        (_ALPN, "test_a_hundred_checks_leave_the_process_as_it_was"),
    ),
}


def test_every_fault_has_tests_that_are_there() -> None:
    assert len(TESTS) == 10
    for pairs in TESTS.values():
        for file, name in pairs:
            tree = ast.parse((_ROOT / file).read_text())
            defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
            assert name in defined, f"{file}::{name}"
