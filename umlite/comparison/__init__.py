"""Two results of one patient: aligned by organs, lesions matched and judged, volumes and diameters side by side."""
