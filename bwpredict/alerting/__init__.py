"""Send alerts and keep incidents, so that one problem alerts once."""
