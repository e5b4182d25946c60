"""Commands of the command line, a module for each subject; each registers its own on the app."""
