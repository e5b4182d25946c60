"""The command line's `bwpredict pull`: a consumer's copy of the model in production."""

from __future__ import annotations

import threading
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from bwpredict.cli.registry_option import AsJson, Model, Registry, open_registry, report
from bwpredict.config import Settings
from bwpredict.errors import ConfigError
from bwpredict.store.files import require_local_path


def pull(
    dest: Annotated[
        Path,
        typer.Option(help="Folder that the consumer reads; created if it does not exist.", callback=require_local_path),
    ],
    registry: Registry = "",
    model: Model = "",
    watch: Annotated[bool, typer.Option("--watch", help="Keep running, and fetch each new model.")] = False,
    every_seconds: Annotated[float, typer.Option(help="Seconds between two checks, with --watch.")] = 600,
    go_config: Annotated[Path | None, typer.Option(help="Write the contract's Go constants to this file.")] = None,
    go_package: Annotated[str, typer.Option(help="Package of that file.")] = "predictor",
    layout: Annotated[
        Literal["folder", "triton"],
        typer.Option(help="triton: also keep a model repository of Triton Inference Server in the folder triton."),
    ] = "folder",
    require_signature: Annotated[
        bool,
        typer.Option("--require-signature", help="Accept only versions signed with a key of BWPREDICT_TRUSTED_KEYS."),
    ] = False,
    accept_contract: Annotated[
        bool,
        typer.Option("--accept-contract", help="Accept this model's contract: the consumer has been adapted to it."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Fetch and verify the model in production, and switch model and metadata in one step."""
    from bwpredict.provenance.signing import TrustedKeys
    from bwpredict.serving import delivery, triton
    from bwpredict.serving import go_config as go

    if every_seconds <= 0:
        raise ConfigError(f"--every-seconds {every_seconds:g}: expected more than 0.")
    if watch and as_json:
        raise ConfigError("--json prints one document, and --watch never ends: give one or the other.")
    if watch and accept_contract:
        raise ConfigError("--accept-contract is for one model that you have reviewed; give it without --watch.")
    open_registry(registry, model)  # A wrong address is an error at once, also with --watch.
    trusted = TrustedKeys.load(Settings().trusted_keys) if require_signature else None

    def once() -> delivery.Delivery:
        store = open_registry(registry, model)  # Open it again each time: its keys may have been rotated.
        done = delivery.deliver(store, dest, accept_contract=accept_contract, trusted=trusted)
        if go_config is not None:
            _, metadata = delivery.read_pair(done.folder)
            go.write_go_config(go_config, metadata, dest=dest.absolute(), package=go_package)
        if layout == "triton":
            triton.write_repository(dest / "triton", done.folder)
        return done

    if watch:
        delivery.watch(once, wait=lambda: threading.Event().wait(every_seconds))
        return
    done = once()
    report(asdict(done), f"{done.version} is in {dest}{'' if done.changed else ' already'}", as_json=as_json)
