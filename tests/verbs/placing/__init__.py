"""Tests of verbs/placing."""
