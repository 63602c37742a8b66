"""Studies and demonstrations: may be deleted without breaking the library."""
