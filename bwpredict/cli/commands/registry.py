"""Commands on a registry: `status`, `promote`, `rollback`, `gc`, `verify` and `model-card`."""

from __future__ import annotations

import logging
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from bwpredict.cli.identity import user
from bwpredict.cli.registry_option import AsJson, Model, Reason, Registry, open_registry, print_json, report
from bwpredict.config import Settings
from bwpredict.core.formatting import count_of

if TYPE_CHECKING:
    from bwpredict.registry.pointer import Production

logger = logging.getLogger(__name__)


def status(
    registry: Registry = "",
    model: Model = "",
    moves: Annotated[int, typer.Option(min=1, help="Latest moves of production to show.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Show the version in production and the latest moves, newest first."""
    from bwpredict.registry.history import read_record, record_names
    from bwpredict.registry.pointer import read_production
    from bwpredict.registry.versions import list_versions

    store = open_registry(registry, model)
    production = read_production(store)
    names = record_names(store, production)[-moves:] if production else []
    history = [read_record(store, name.key, production) for name in reversed(names)]
    versions = list_versions(store)[::-1]
    if as_json:
        document = {"production": production and production.document, "history": [move.document for move in history]}
        print_json({"registry": store.uri, **document, "versions": versions})
        return
    if production is None:
        logger.info("%s: nothing is in production yet.", store.uri)
        return
    since = _minute(production.promoted_at)
    logger.info("%s: %s is in production since %s UTC.", store.uri, production.version, since)
    if candidate := production.candidate:
        logger.info("The canary %s serves %g %% of the links.", candidate.version, 100 * candidate.share)
    Console(highlight=False).print(_history_table(history))
    shown = ", ".join(versions[:moves]) or "none"
    logger.info("%s, the newest first: %s", count_of(len(versions), "published version"), shown)


def _history_table(history: list[Production]) -> Table:
    table = Table("#", "version", "kind", "when (UTC)", "by", "replaced", box=None, padding=(0, 1, 0, 0))
    for column in table.columns:
        column.no_wrap, column.overflow = column.header != "by", "fold"
    for move in history:
        by = f"{move.made_by}: {move.reason}" if move.reason else move.made_by
        when, replaced = _minute(move.made_at), move.replaced or "nothing"
        table.add_row(str(move.sequence), move.version, move.kind, when, by, replaced)
    return table


def _minute(iso: str) -> str:
    """`2026-11-01 00:14` of an ISO 8601 time."""
    return iso[:16].replace("T", " ")


def promote(
    version: Annotated[str, typer.Argument(help="A published version, such as v20261101_093000.")],
    registry: Registry = "",
    model: Model = "",
    reason: Reason = None,
    require_signature: Annotated[
        bool,
        typer.Option("--require-signature", help="Promote only a version signed with a key of BWPREDICT_TRUSTED_KEYS."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Put a published version into production, after verifying all its files."""
    from bwpredict.provenance.signing import TrustedKeys, require_signed
    from bwpredict.registry.promotion import promote as promote_version

    store = open_registry(registry, model)
    if require_signature:
        require_signed(store, version, TrustedKeys.load(Settings().trusted_keys))
    production = promote_version(store, version, promoted_by=user(), now=datetime.now(UTC), reason=reason)
    before = production.previous or "nothing"
    report(production.document, f"{production.version} is in production; before it: {before}.", as_json=as_json)


def rollback(registry: Registry = "", model: Model = "", reason: Reason = None, as_json: AsJson = False) -> None:
    """Put the previous version back into production."""
    from bwpredict.registry.promotion import rollback as roll_back

    production = roll_back(open_registry(registry, model), promoted_by=user(), now=datetime.now(UTC), reason=reason)
    report(production.document, f"{production.version} is in production again.", as_json=as_json)


def gc(
    registry: Registry = "",
    model: Model = "",
    keep: Annotated[int, typer.Option(help="Newest versions to keep.")] = 12,
    predecessors: Annotated[
        int | None, typer.Option(help="Versions to keep for rollbacks (default: all that were promoted).")
    ] = None,
    older_than_days: Annotated[float, typer.Option(help="Keep anything that changed more recently.")] = 7,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be deleted.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete old versions and unfinished uploads. Keeps production and what a rollback can reach."""
    from bwpredict.registry import retention

    store, now = open_registry(registry, model), datetime.now(UTC)
    policy = retention.RetentionPolicy(keep, predecessors, timedelta(days=older_than_days))
    if dry_run:
        planned = retention.plan_retention(store, policy, now=now)
    else:
        planned = retention.delete_old_versions(store, policy, made_by=user(), now=now)
    if as_json:
        print_json({"registry": store.uri, "dry_run": dry_run, **asdict(planned)})
        return
    verb = "would be deleted" if dry_run else "deleted"
    for what, versions in (
        ("version", planned.versions),
        ("unfinished upload", planned.leftovers),
        ("unfinished deletion", planned.unfinished),
    ):
        names = "".join(f"\n  {name}" for name in versions)
        logger.info("%s: %s %s%s", store.uri, count_of(len(versions), what), verb, names)


def verify(registry: Registry = "", model: Model = "", as_json: AsJson = False) -> None:
    """Read and re-hash everything in the registry. Exit code 1 if anything differs from what was written."""
    from bwpredict.registry.audit import audit_registry

    store = open_registry(registry, model)
    found = audit_registry(store)
    if as_json:
        print_json({"registry": store.uri, **asdict(found)})
        raise typer.Exit(int(bool(found.problems)))
    for problem in found.problems:
        logger.info("PROBLEM %s", problem)
    for version in found.unfinished:
        logger.info(
            "note: models/%s has no MANIFEST.json: its upload is running or has failed; gc removes it.", version
        )
    logger.info(
        "%s: %s, %s, %s of production: %s",
        store.uri, count_of(found.versions, "version"), count_of(found.files, "file"), count_of(found.moves, "move"),
        count_of(len(found.problems), "problem") if found.problems else "no problems",
    )  # fmt: skip
    if found.problems:
        raise typer.Exit(1)


def model_card(
    version: Annotated[str, typer.Argument(help="A published version, such as v20261101_093000.")],
    registry: Registry = "",
    model: Model = "",
) -> None:
    """Print the model card of a published version as CycloneDX JSON."""
    from bwpredict.exports.cyclonedx import model_card as cyclonedx_card

    print_json(cyclonedx_card(open_registry(registry, model), version))
