"""Intercept: a proxy that sees the HTTPS requests of programs that no Python tracer sees, while an app is traced."""
