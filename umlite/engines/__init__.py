"""The network on a device: the contract, the choice with its reasons, one file per engine."""
