"""DICOM out: a result as segmentation, measurement report and key images that a PACS can store."""
