"""Provenance of published versions: in-toto statements, signed with DSSE."""
