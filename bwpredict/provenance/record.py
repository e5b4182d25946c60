"""Write a version's provenance into its work area, to be published with its files."""

from __future__ import annotations

from pathlib import Path

from bwpredict.config import Settings
from bwpredict.documents import write_document
from bwpredict.provenance.openssf import load_openssf_key, write_openssf
from bwpredict.provenance.signing import load_signer, write_signed
from bwpredict.provenance.statement import statement
from bwpredict.registry.layout import (
    ENVELOPE_NAME,
    IMPORTED_NAME,
    OPENSSF_NAME,
    STATEMENT_NAME,
    optional_files,
    required_files,
)
from bwpredict.store.files import sha256_of


def record(area: Path, version: str, settings: Settings) -> None:
    """Write `provenance.json` about the version's files in `area`, and the signatures that keys are configured for.

    These are `provenance.dsse.json` and OpenSSF's `model.sig`, which signs the others too.

    Raises:
        ConfigError: a key cannot be used.
        DocumentError: as `statement`.
    """
    itself = (STATEMENT_NAME, ENVELOPE_NAME, OPENSSF_NAME)
    optional = [name for name in optional_files(version) if name not in itself and (area / name).is_file()]
    required = required_files(version, trained_elsewhere=(area / IMPORTED_NAME).is_file())
    names = [*required, *optional]
    document = statement(area, version, names, builder=settings.builder)
    write_document(area / STATEMENT_NAME, "provenance", document)
    for name in (ENVELOPE_NAME, OPENSSF_NAME):
        (area / name).unlink(missing_ok=True)  # written by an attempt with another key
    signed = [*names, STATEMENT_NAME]
    if settings.signing_key:
        write_signed(area / ENVELOPE_NAME, document, load_signer(settings.signing_key))
        signed.append(ENVELOPE_NAME)
    if settings.openssf_key:
        files = {name: sha256_of(area / name) for name in signed}
        write_openssf(area / OPENSSF_NAME, version, files, load_openssf_key(settings.openssf_key))
