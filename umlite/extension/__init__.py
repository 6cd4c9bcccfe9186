"""Teaching a trained network a class, without changing it: labelled scans, frozen features, one controller, a pack."""
