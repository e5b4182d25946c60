"""Telemetry from where it lives into the store, as `date=` partitions: for runs that outlive the source."""
