"""What blocks print, log and warn becomes lines of their log."""
