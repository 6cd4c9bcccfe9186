"""Commands of the command line that measure, and what all commands share."""
