"""Published versions in the formats of other tools; nothing here changes what is in production."""
