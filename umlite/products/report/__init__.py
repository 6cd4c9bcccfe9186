"""A report: one HTML file that shows a scan, its masks, numbers and checks, without network or installation."""
