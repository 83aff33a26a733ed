"""acme2certifier as a WSGI application, `application`, whose challenges are validated by the appliance alone.

acme2certifier has hooks around an enrolment, but none for a challenge; its registry of validators is where one fits.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import mpic_hook
from acme2certifier.acme_srv import challenge
from acme2certifier.acme_srv.challenge_validators import (
    ChallengeContext,
    ChallengeValidator,
    ChallengeValidatorRegistry,
    ValidationResult,
)

_UNAUTHORIZED = "urn:ietf:params:acme:error:unauthorized"


class Corroborated(ChallengeValidator):
    """Validates challenges of one type by the appliance's decision."""

    def __init__(self, logger: Any, kind: str) -> None:
        super().__init__(logger)
        self._kind = kind

    def get_challenge_type(self) -> str:
        """Of the challenges that it is for."""
        return self._kind

    def perform_validation(self, context: ChallengeContext) -> ValidationResult:
        """Valid where `is_valid`; everything else makes the challenge invalid at once."""
        try:
            quorum = mpic_hook.domain_control(
                self._kind,
                context.authorization_value,
                context.token,
                context.jwk_thumbprint,
                trace=context.challenge_name,
            )
        except mpic_hook.NotCorroborated as error:
            problem = {"status": 403, "type": _UNAUTHORIZED, "detail": str(error)}
            return ValidationResult(success=False, invalid=True, error_message=json.dumps(problem))
        self.logger.info("MPIC: %s of %s is corroborated (%s)", self._kind, context.authorization_value, quorum)
        return ValidationResult(success=True, invalid=False)


def _registry(logger: Any, config: Any = None) -> ChallengeValidatorRegistry:
    """Validators of the challenge types that the configuration offers, and no others."""
    registry = ChallengeValidatorRegistry(logger)
    offered = {
        "http-01": config.http_01_support,
        "dns-01": config.dns_01_support,
        "tls-alpn-01": config.tls_alpn_01_support,
    }
    for kind in (kind for kind, on in offered.items() if on):
        registry.register_validator(Corroborated(logger, kind))
    return registry


challenge.create_challenge_validator_registry = _registry

from acme2certifier.acme_srv.helper import hooks_load  # noqa: E402 -- the patch comes first
from acme2certifier.share.acme2certifier_wsgi import CONFIG, LOGGER, application  # noqa: E402

__all__ = ["application"]

# acme2certifier goes on without hooks that it cannot load, without a word to the client: such a server must not start.
_loaded = hooks_load(LOGGER, CONFIG)
if _loaded is None or not hasattr(_loaded, "NotCorroborated"):
    sys.exit("acme_srv.cfg: [Hooks] hooks_module: must be the path of mpic_hook.py")
for _key in ("challenge_validation_disable", "ignore_pre_hook_failure"):
    if any(CONFIG.getboolean(_section, _key, fallback=False) for _section in ("Challenge", "Hooks")):
        sys.exit(f"acme_srv.cfg: {_key}: must be off")
