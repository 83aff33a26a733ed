#!/bin/sh
# Asks whether CAA permits issuance for DOMAIN, with an API key over loopback.
# Usage: MPIC_KEY=mpic_… curl.sh DOMAIN [URL]
set -eu
domain=${1:?usage: MPIC_KEY=… curl.sh DOMAIN [URL]}
url=${2:-http://127.0.0.1:8090}
# The header comes from standard input: a key among the arguments would be in the list of processes.
printf 'x-api-key: %s\n' "${MPIC_KEY:?}" |
    curl --silent --show-error --fail-with-body --max-time 10 --header @- --header 'Content-Type: application/json' \
        --data "{\"check_type\": \"caa\", \"domain_or_ip_target\": \"$domain\"}" "$url/mpic"
