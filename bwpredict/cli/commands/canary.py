"""The command line's `bwpredict canary`."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from bwpredict.cli.identity import user
from bwpredict.cli.registry_option import Model, Reason, Registry, open_registry
from bwpredict.errors import ConfigError

if TYPE_CHECKING:
    from bwpredict.store.base import Store

logger = logging.getLogger(__name__)


def canary(
    version: Annotated[str, typer.Argument(help="A published version; leave it out to show or end the trial.")] = "",
    share: Annotated[float | None, typer.Option(help="Share of the links that it serves, above 0 and below 1.")] = None,
    end: Annotated[bool, typer.Option("--end", "--conclude", help="Let production serve all links again.")] = False,
    reason: Reason = None,
    registry: Registry = "",
    model: Model = "",
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
    _tell(store)


def _tell(store: Store) -> None:
    from bwpredict.registry.pointer import read_production

    uri, production = store.uri, read_production(store)
    candidate = production.candidate if production else None
    if production is None or candidate is None:
        logger.info("%s: no canary; %s serves all links.", uri, production.version if production else "nothing")
        return
    logger.info(
        "%s: %s serves %g %% of the links since %s, %s the others.",
        uri, candidate.version, 100 * candidate.share, candidate.since, production.version,
    )  # fmt: skip
