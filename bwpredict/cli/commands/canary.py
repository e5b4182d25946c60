"""The command line's `bwpredict canary`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from bwpredict.cli.identity import user
from bwpredict.cli.registry_option import AsJson, Model, Reason, Registry, open_registry, report
from bwpredict.errors import ConfigError

if TYPE_CHECKING:
    from bwpredict.store.base import Store


def canary(
    version: Annotated[str, typer.Argument(help="A published version; leave it out to show or end the trial.")] = "",
    share: Annotated[float | None, typer.Option(help="Share of the links that it serves, above 0 and below 1.")] = None,
    end: Annotated[bool, typer.Option("--end", "--conclude", help="Let production serve all links again.")] = False,
    reason: Reason = None,
    registry: Registry = "",
    model: Model = "",
    as_json: AsJson = False,
) -> None:
    """Serve a published version on a share of the links, change the share, end the trial, or show it."""
    from bwpredict.registry.canary import begin_canary, end_canary

    store = open_registry(registry, model)
    if end and (version or share is not None):
        raise ConfigError("--end takes neither a version nor a share; to promote the candidate: bwpredict promote.")
    if end:
        end_canary(store, made_by=user(), now=datetime.now(UTC), reason=reason)
    elif version:
        if share is None:
            raise ConfigError(f"canary {version}: give --share, the share of the links that it serves, such as 0.1.")
        begin_canary(store, version, share, made_by=user(), now=datetime.now(UTC), reason=reason)
    elif share is not None:
        raise ConfigError("--share goes with a version: bwpredict canary VERSION --share 0.1.")
    _show(store, as_json=as_json)


def _show(store: Store, *, as_json: bool) -> None:
    from bwpredict.registry.pointer import read_production

    uri, production = store.uri, read_production(store)
    candidate = production.candidate if production else None
    version = production.version if production else None
    if candidate is None:
        sentence = f"{uri}: no canary; {version or 'nothing'} serves all links."
    else:
        served = f"{100 * candidate.share:g} % of the links since {candidate.since}"
        sentence = f"{uri}: {candidate.version} serves {served}, {version} the others."
    document = {"registry": uri, "production": version, "canary": candidate and asdict(candidate)}
    report(document, sentence, as_json=as_json)
