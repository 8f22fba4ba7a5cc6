"""Inference: derive a recipe from one observed start of an app; pure."""
