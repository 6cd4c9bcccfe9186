"""The network on a device: the contract of an engine, the choice with its reasons, and one file per engine."""
