"""`dwarpal breach`: drafts of what the law asks for after a personal data breach."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from services.cli.options import AsJson, DataDir, storage_for
from services.cli.outcome import CommandFailed
from services.cli.output import print_json, progress_bar, remark, say, write_secret

app = typer.Typer(no_args_is_help=True, help="What the law asks for after a personal data breach.")


@app.callback()
def breach() -> None:
    """Keep `draft` a command of its own."""


@app.command()
def draft(
    context: typer.Context,
    since: Annotated[str, typer.Option(metavar="TIME", help="Begin of the breach, such as 2026-11-24T06:30+05:30.")],
    until: Annotated[str, typer.Option(metavar="TIME", help="Its end, with its zone.")],
    aware_at: Annotated[
        str | None, typer.Option(metavar="TIME", help="When the site became aware; by default now.")
    ] = None,
    lang: Annotated[list[str] | None, typer.Option(help="Language of a notice; repeatable; by default en.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the drafts into this folder.", file_okay=False)] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Draft the notices to people and the 72-hour report to the Board from the audit log; `[____]` is for people."""
    from services.breach import breach_facts, draft_notice, draft_report

    begin, end = _time("--since", since), _time("--until", until)
    storage = storage_for(context, data_dir)
    with progress_bar("Reading the log") as progress:
        facts = breach_facts(storage, begin, end, progress=progress)
    aware = _time("--aware-at", aware_at) if aware_at else facts.drafted_at
    drafts = {f"notice-{language}.md": draft_notice(facts, language) for language in lang or ["en"]}
    drafts["report.md"] = draft_report(facts, aware_at=aware)
    if out is not None:
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, text in drafts.items():
            write_secret(out / name, text.encode())
            remark(f"wrote {out / name}")
    if as_json:
        print_json({"facts": asdict(facts), "drafts": drafts})
    elif out is None:
        say("\n\n".join(drafts.values()))


def _time(option: str, text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise CommandFailed(f"{option} is a time with its zone, such as 2026-11-24T06:30+05:30.")
    return time
