"""DICOM in: the series of a folder, an archive or some files, and each CT among them as a `Scan`."""
