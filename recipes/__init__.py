"""How the files that come with umlite were made. Not part of the installed package; run from a checkout."""
