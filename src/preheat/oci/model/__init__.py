"""The documents of the OCI image specification, as values."""
