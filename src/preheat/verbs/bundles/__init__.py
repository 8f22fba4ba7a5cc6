"""Bundles: `export` and `import`, which carry models to machines without a network in a tar."""
