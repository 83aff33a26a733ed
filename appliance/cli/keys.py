"""`mpicctl keys`: the rotation of a tunnel's keys, step by step, without a lost check."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from appliance.cli.client import CannotAsk, Coordinator, RequestRefused
from appliance.cli.context import Invocation, Json, print_json
from appliance.cli.drain import Code
from appliance.config import load
from appliance.errors import UNDECODABLE, ApplianceError
from appliance.ipc.framing import HEADER_BYTES, encode
from appliance.model.keys import KeyAnswer, KeyRequest, KeyState

_ANSWER_S = 30.0
_IDLE_S = 60.0
_READY_S = 60.0
_POLL_S = 0.2
# Longer than the tunnel daemon and the worker need to tell of a change.
_STEADY_LOOKS = 10
_MAX_ANSWER_BYTES = 1 << 16
_RETIRE_DUE = 3

app = typer.Typer(
    no_args_is_help=True,
    help="Rotate a tunnel's WireGuard keys: prepare; let the egress node accept the new key beside the old; activate; retire.",
)


class StepRefused(ApplianceError):
    """The tunnel daemon did not take the step."""


@app.command("prepare")
def prepare(context: typer.Context, code: Code, json: Json = False) -> None:
    """Make the key of the idle slot, and show what the egress node needs: its public half and its inner addresses.

    Add them to the egress node's file as a further peer, and run `mpic-egress apply` there. Once more, it shows the same.
    Exit code 0: it is there. 1: refused. 2: could not be asked, or it is not on record; run it again. 3: the new key is in use,
    and what is left to do is to retire the former.
    """
    _step(context, KeyRequest("prepare", code), json)


@app.command("activate")
def activate(
    context: typer.Context,
    code: Code,
    former: Annotated[bool, typer.Option("--former", help="Go back to the key that was in use before.")] = False,
    json: Json = False,
) -> None:
    """Change over to the key of the idle slot: drain, wait for the checks under way, change, wait for health, undrain.

    Where the egress node does not answer with the new key, all is as before. Once more, it only waits for health: without --former
    it never changes back. Exit code 0: it is in use. 1: refused, or it did not work. 2: could not be asked, or it is not on record;
    run it again.
    """
    coordinator = context.obj.coordinator()
    try:
        drained_here = coordinator.post("/drain", {"perspective": code})["changed"]
    except RequestRefused as refused:
        print("\n".join(refused.issues))
        raise typer.Exit(1) from refused
    try:
        _wait(
            lambda: _status(coordinator, code)["in_flight"] == 0,
            _IDLE_S,
            f"{code}: checks are still under way",
            looks=1,
        )
        _step(context, KeyRequest("activate", code, former), json)
        failure = (
            f"{code}: it is changed over (run this again to wait on, or with --former to go back), but not healthy"
        )
        _wait(lambda: _is_healthy(coordinator, code), _READY_S, failure, _STEADY_LOOKS)
    except StepRefused as error:
        print(str(error))
        raise typer.Exit(1) from error
    finally:
        if drained_here:
            coordinator.post("/undrain", {"perspective": code})


@app.command("retire")
def retire(context: typer.Context, code: Code, json: Json = False) -> None:
    """Remove the key that is not in use; then take its peer out of the egress node's file, and apply it there.

    Exit code 0: it is gone. 1: refused. 2: could not be asked, or it is not on record; run it again.
    """
    _step(context, KeyRequest("retire", code), json)


def _step(context: typer.Context, request: KeyRequest, json: bool) -> None:
    invocation: Invocation = context.obj
    answer = _ask(load(invocation.config).tunnel_control, request)
    if answer.state is None:
        if request.step == "activate":
            raise StepRefused(answer.error)
        print(answer.error)
        raise typer.Exit(_RETIRE_DUE if answer.retire_due else 1)
    state = answer.state
    told = {"perspective": state.perspective, "step": request.step, "slot": state.slot, "public_key": state.public_key}
    try:
        invocation.coordinator().post("/key-rotation", told)
    except CannotAsk as error:
        raise CannotAsk(
            f"{state.perspective}: {request.step} is done, but not on record; run it again\n{error}"
        ) from error
    if json:
        print_json(msgspec.to_builtins(state))
    else:
        _show(state)


def _show(state: KeyState) -> None:
    print(f"{state.perspective}: {state.slot} slot, {'in use' if state.active else 'idle'}")
    print(f"  public_key = {state.public_key}")
    print(f"  addresses  = {', '.join(state.addresses)}")
    if state.preshared_key_file is not None:
        print(f"  preshared key: the content of {state.preshared_key_file}, by a way that nobody else reads")


def _ask(path: Path, request: KeyRequest) -> KeyAnswer:
    """The tunnel daemon's answer. Raises `CannotAsk`."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_ANSWER_S)
            connection.connect(str(path))
            connection.sendall(encode(request))
            answer = b""
            while part := connection.recv(4096):
                answer += part
                if len(answer) > _MAX_ANSWER_BYTES:
                    raise CannotAsk(f"{path}: the answer is too long")
        return msgspec.json.decode(answer[HEADER_BYTES:], type=KeyAnswer)
    except OSError as error:
        raise CannotAsk(f"{path}: {error}\nIs mpic-tunneld running, and are you in the operators' group?") from error
    except UNDECODABLE as error:
        raise CannotAsk(f"{path}: not an answer: {error}") from error


def _status(coordinator: Coordinator, code: str) -> dict[str, Any]:
    document = coordinator.get("/status")
    return next(one for one in document["perspectives"] if one["code"] == code)


def _is_healthy(coordinator: Coordinator, code: str) -> bool:
    healthy: bool = _status(coordinator, code)["healthy"]
    return healthy


def _wait(state: Callable[[], bool], limit_s: float, failure: str, looks: int) -> None:
    """Until `state` was true `looks` times in a row. Raises `StepRefused` after `limit_s` seconds."""
    deadline = time.monotonic() + limit_s
    seen = 0
    while seen < looks:
        seen = seen + 1 if state() else 0
        if time.monotonic() > deadline:
            raise StepRefused(f"{failure} after {limit_s:g} s")
        time.sleep(_POLL_S)
