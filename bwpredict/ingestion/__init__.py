"""Ingest telemetry from Prometheus or SQL into date-partitioned Parquet."""
