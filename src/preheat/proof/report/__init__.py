"""Figures, table, page, thresholds."""
