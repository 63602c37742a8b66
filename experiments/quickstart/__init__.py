"""What `make quickstart` needs beside the library."""
