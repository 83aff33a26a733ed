"""What operators ask the tunnel daemon about keys, and what it tells."""

from __future__ import annotations

from typing import Literal

import msgspec

Step = Literal["prepare", "activate", "retire"]


class KeyRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One step of a rotation. `former`: with `activate`, back to the key that was in use before."""

    step: Step
    perspective: str
    former: bool = False


class KeyState(msgspec.Struct, frozen=True):
    """One of a tunnel's two keys, its public half in base64. `addresses`: the inner ones that the egress node is to give it.

    `active`: it is in use. `preshared_key_file`: where the secret for the egress node is to be taken from, None = none.
    """

    perspective: str
    slot: str
    active: bool
    public_key: str
    addresses: tuple[str, ...]
    preshared_key_file: str | None


class KeyAnswer(msgspec.Struct, frozen=True):
    """`state`: of the slot that the step was about; None where it was refused, and `error` says why.

    `retire_due`: it was refused because the former key is still there.
    """

    state: KeyState | None = None
    error: str = ""
    retire_due: bool = False
