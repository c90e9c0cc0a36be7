"""`dwarpal gates`: make, change and list gates, and the keys with which their devices sign captures."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Annotated

import typer

from biometrics.records import DeviceKey, Gate, LivenessPolicy, Purpose
from liveness.injection import base64url
from services.cli.options import AsJson, DataDir, storage_for
from services.cli.outcome import CommandFailed
from services.cli.output import fields, print_json, print_table, say

app = typer.Typer(no_args_is_help=True, help="Gates, each for one purpose, and the keys of their devices.")
devices = typer.Typer(no_args_is_help=True, help="The public keys with which a gate's devices sign captures.")
app.add_typer(devices, name="devices")

GateId = Annotated[str, typer.Argument(metavar="ID", help="The gate.")]
Liveness = Annotated[
    LivenessPolicy | None,
    typer.Option(help="passive: PAD on each capture; active: a challenge before it; both."),
]
SignedCaptures = Annotated[
    bool | None,
    typer.Option("--signed-captures/--unsigned-captures", help="Turn away what no registered device signed."),
]


@app.command()
def create(
    context: typer.Context,
    gate_id: Annotated[
        str, typer.Argument(metavar="ID", help="Small letters, digits and hyphens, such as t3-entry-1.")
    ],
    purpose: Annotated[Purpose, typer.Option(help="What the gate checks faces for: entry, security or boarding.")],
    walk_through: Annotated[
        bool, typer.Option("--walk-through", help="The gate may also recognize travellers who show no token.")
    ] = False,
    liveness: Liveness = None,
    signed_captures: SignedCaptures = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make a gate."""
    from services.administration import add_gate
    from services.api.schemas import GateBody

    wanted = GateBody(id=gate_id, purpose=purpose, walk_through=walk_through)
    policy = liveness or LivenessPolicy.PASSIVE
    asked = Gate(wanted.id, wanted.purpose, wanted.walk_through, policy, bool(signed_captures))
    _show(_shown(add_gate(storage_for(context, data_dir), asked)), as_json)


@app.command()
def change(
    context: typer.Context,
    gate_id: GateId,
    liveness: Liveness = None,
    signed_captures: SignedCaptures = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Change a gate's policy against attacks, from the next check on, also in a running service."""
    from services.administration import change_gate

    if liveness is None and signed_captures is None:
        raise CommandFailed("Say what to change: --liveness, --signed-captures or --unsigned-captures.")
    storage = storage_for(context, data_dir)
    _show(_shown(change_gate(storage, gate_id, liveness=liveness, signed_captures=signed_captures)), as_json)


@app.command("list")
def list_all(context: typer.Context, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List all gates."""
    with storage_for(context, data_dir).reading() as unit:
        gates = [_shown(gate) for gate in unit.gates.all()]
    if as_json:
        print_json(gates)
    else:
        head = ("id", "purpose", "walk-through", "liveness", "signed captures")
        print_table(head, [tuple(gate.values()) for gate in gates])


@app.command()
def keygen(
    file: Annotated[Path, typer.Argument(help="The new key file; it stays on the device.", dir_okay=False)],
    as_json: AsJson = False,
) -> None:
    """Make a device's key file, mode 0600, and print the public half to register; run it on the device."""
    from infra.capture_signing import DeviceSigner

    signer = DeviceSigner.new()
    signer.write(file)
    _show({"key_id": DeviceKey.id_of(signer.public), "public_key": base64url(signer.public)}, as_json)


# One public key in sixty-four begins with a hyphen, and is no option.
@devices.command("add", context_settings={"ignore_unknown_options": True})
def add_device(
    context: typer.Context,
    gate_id: GateId,
    public_key: Annotated[str, typer.Argument(metavar="PUBLIC_KEY", help="What `gates keygen` printed.")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Register a device's public key for one gate."""
    from services.administration import add_device_key

    try:
        public = base64.b64decode(public_key + "=", altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        public = b""
    _show(_shown_key(add_device_key(storage_for(context, data_dir), gate_id, public)), as_json)


@devices.command("list")
def list_devices(context: typer.Context, gate_id: GateId, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List a gate's device keys, also revoked ones."""
    from services.administration import device_keys

    keys = [_shown_key(key) for key in device_keys(storage_for(context, data_dir), gate_id)]
    if as_json:
        print_json(keys)
    else:
        print_table(("id", "gate", "public key", "created", "revoked"), [tuple(key.values()) for key in keys])


@devices.command("revoke")
def revoke_device(
    context: typer.Context,
    gate_id: GateId,
    key_id: Annotated[str, typer.Argument(metavar="KEY", help="The id that `gates devices list` shows.")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a device's key from this moment on and for good, also in a running service."""
    from services.administration import end_device_key

    end_device_key(storage_for(context, data_dir), gate_id, key_id)
    if as_json:
        print_json({"id": key_id, "revoked": True})
    else:
        say(f"{key_id} is revoked.")


def _show(values: dict[str, object], as_json: bool) -> None:
    if as_json:
        print_json(values)
    else:
        fields(values)


def _shown(gate: Gate) -> dict[str, object]:
    return {
        "id": gate.id,
        "purpose": gate.purpose.value,
        "walk_through": gate.walk_through,
        "liveness": gate.liveness.value,
        "signed_captures": gate.signed_captures,
    }


def _shown_key(key: DeviceKey) -> dict[str, object]:
    return {
        "id": key.id,
        "gate_id": key.gate_id,
        "public_key": base64url(key.public),
        "created_at": key.created_at,
        "revoked_at": key.revoked_at,
    }
