"""Commands of the command line, one module per subject; `bwpredict.cli.main` assembles them."""
