"""Commands of the command line, a module for each subject; `bwpredict.cli` puts them together."""
