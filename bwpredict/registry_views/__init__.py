"""Read-only views of the registry: overview, differences of versions, announcements."""
