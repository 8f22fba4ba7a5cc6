"""Library: the store of models, with blobs by digest and records of the versions that use them."""
