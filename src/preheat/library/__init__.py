"""Where models are kept: blobs by digest, and records of the versions that need them."""
