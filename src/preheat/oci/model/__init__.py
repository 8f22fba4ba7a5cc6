"""Documents and names of the OCI image specification, as immutable values."""
