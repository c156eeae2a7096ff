"""Manifest files: the YAML dialect, finding files, reading them, and what is said of faults in them."""
