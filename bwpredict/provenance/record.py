"""Write a version's provenance into its work area, to be published with its files."""

from __future__ import annotations

from pathlib import Path

from bwpredict.config import Settings
from bwpredict.documents import write_document
from bwpredict.provenance.signing import load_signer, write_signed
from bwpredict.provenance.statement import statement
from bwpredict.registry.layout import ENVELOPE_NAME, IMPORTED_NAME, STATEMENT_NAME, optional_files, required_files


def record(area: Path, version: str, settings: Settings) -> None:
    """Write `provenance.json` about the version's files in `area`; with a signing key, `provenance.dsse.json` too.

    Raises:
        ConfigError: the signing key cannot be used.
        DocumentError: as `statement`.
    """
    itself = (STATEMENT_NAME, ENVELOPE_NAME)
    optional = [name for name in optional_files(version) if name not in itself and (area / name).is_file()]
    required = required_files(version, trained_elsewhere=(area / IMPORTED_NAME).is_file())
    names = [*required, *optional]
    document = statement(area, version, names, builder=settings.builder)
    write_document(area / STATEMENT_NAME, "provenance", document)
    (area / ENVELOPE_NAME).unlink(missing_ok=True)  # of an attempt with another key
    if settings.signing_key:
        write_signed(area / ENVELOPE_NAME, document, load_signer(settings.signing_key))
