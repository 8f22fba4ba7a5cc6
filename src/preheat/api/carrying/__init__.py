"""Carry models to other machines: in bundles, and through object stores."""
