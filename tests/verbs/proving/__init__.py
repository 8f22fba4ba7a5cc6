"""Tests of the verb `prove`."""
