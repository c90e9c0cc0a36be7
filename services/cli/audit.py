"""`dwarpal audit`: export the log, verify an export offline, show the key that signs it, measure a large one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from services.cli.options import AsJson, DataDir, storage_for
from services.cli.outcome import ExitCode
from services.cli.output import fields, print_json, print_table, progress_bar, say

app = typer.Typer(no_args_is_help=True, help="The tamper-evident log of everything that happened.")


@app.command()
def export(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The bundle to write (JSON lines).", dir_okay=False)],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Write the whole log as one bundle that anyone can verify offline; gates go on meanwhile."""
    from services.export import export_log, verifier_key_of

    storage = storage_for(context, data_dir)
    writing = file.with_name(file.name + ".part")
    try:
        with progress_bar("Exporting") as progress, writing.open("wb") as stream:
            entries = export_log(storage, stream, progress=progress)
        writing.replace(file)
    finally:
        writing.unlink(missing_ok=True)
    written = {"file": str(file), "entries": entries, "vkey": verifier_key_of(storage)}
    if as_json:
        print_json(written)
    else:
        fields(written)


@app.command()
def verify(
    file: Annotated[
        Path | None,
        typer.Argument(help="The exported bundle; without it receipts and checkpoints alone.", dir_okay=False),
    ] = None,
    vkey: Annotated[
        str | None, typer.Option(help="The key that the site published; without it nothing proves who signed.")
    ] = None,
    pq_vkey: Annotated[str | None, typer.Option(help="The site's ML-DSA-44 key, checked beside the other.")] = None,
    witness: Annotated[
        list[str] | None, typer.Option(help="The verifier key of a witness that must have cosigned; repeatable.")
    ] = None,
    receipt: Annotated[list[Path] | None, typer.Option(help="A traveller's receipt (JSON); repeatable.")] = None,
    old_checkpoint: Annotated[
        list[Path] | None, typer.Option(help="A checkpoint kept from earlier; repeatable.")
    ] = None,
    margin: Annotated[
        float | None, typer.Option(help="Seconds beyond one purge interval that a deletion may take.", min=0)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Verify a bundle offline: signatures, the tree, every enrollment's end, every decision's right to be made.

    Without a bundle: that receipts and checkpoints are genuine, and what each receipt says stood in the log.
    """
    from infra.audit.audit_verify import DEFAULT_MARGIN, UnreadableError, describe, verify_bundle, verify_kept
    from services.cli.outcome import CommandFailed

    receipts, checkpoints, witnesses = receipt or (), old_checkpoint or (), witness or ()
    try:
        if file is not None:
            with progress_bar("Verifying") as progress:
                report = verify_bundle(
                    file,
                    vkey=vkey,
                    pq_vkey=pq_vkey,
                    witnesses=witnesses,
                    receipts=receipts,
                    old_checkpoints=checkpoints,
                    margin_seconds=DEFAULT_MARGIN if margin is None else margin,
                    progress=progress,
                )
        elif vkey is not None and (receipts or checkpoints):
            report = verify_kept(
                vkey=vkey, pq_vkey=pq_vkey, witnesses=witnesses, receipts=receipts, old_checkpoints=checkpoints
            )
        else:
            raise CommandFailed("Name a bundle, or --vkey and a --receipt or an --old-checkpoint.")
    except UnreadableError as error:
        raise CommandFailed(f"{error}.") from None
    say(report.as_json() if as_json else describe(report))
    raise typer.Exit(ExitCode.OK if report.ok else ExitCode.NEGATIVE)


@app.command()
def key(
    context: typer.Context,
    data_dir: DataDir = None,
    post_quantum: Annotated[bool, typer.Option("--post-quantum", help="Print the ML-DSA-44 key instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the verifier key that the site should publish: checkpoints and receipts are signed with it."""
    from services.cli.outcome import CommandFailed
    from services.export import post_quantum_key_of, verifier_key_of

    storage = storage_for(context, data_dir)
    vkey, second = verifier_key_of(storage), post_quantum_key_of(storage)
    if as_json:
        print_json({"vkey": vkey, "pq_vkey": second})
    elif not post_quantum:
        say(vkey)
    elif second is None:
        raise CommandFailed("The installed cryptography library has no ML-DSA.", ExitCode.UNAVAILABLE)
    else:
        say(second)


@app.command()
def bench(
    entries: Annotated[int, typer.Option(min=1000, help="Entries of the synthetic log.")] = 100_000,
    runs: Annotated[int, typer.Option(min=20, help="Measured runs of each deed.")] = 1000,
    folder: Annotated[
        Path | None, typer.Option(help="Where to put the database meanwhile: about 1 kB an entry.", file_okay=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Milliseconds to append to a large log and to prove something about it, beside a small one."""
    import shutil
    import tempfile
    from dataclasses import asdict

    from infra.audit.benchmark import BYTES_PER_ENTRY, benchmark_log
    from services.cli.outcome import CommandFailed

    with tempfile.TemporaryDirectory(prefix="dwarpal-bench-", dir=folder) as place:
        if shutil.disk_usage(place).free < 2 * entries * BYTES_PER_ENTRY:
            raise CommandFailed(
                f"{entries} entries need {2 * entries * BYTES_PER_ENTRY // 10**6} MB of free disk.",
                ExitCode.UNAVAILABLE,
            )
        with progress_bar("Loading") as progress:
            figures = benchmark_log(Path(place), entries, runs=runs, progress=progress)
    if as_json:
        print_json(asdict(figures))
        return
    say(f"{entries} entries loaded in {figures.load_seconds:.0f} s: {figures.disk_bytes / 1e6:.0f} MB on disk, ")
    say(f"{figures.peak_memory_mib} MiB of memory at most. Milliseconds, median (p95) of {runs} runs:")
    rows = [
        (deed, *(f"{at[deed].median:.2f} ({at[deed].p95:.2f})" for at in (figures.small, figures.large)))
        for deed in figures.large
    ]
    print_table(("", "1000 entries", f"{entries} entries"), rows)
