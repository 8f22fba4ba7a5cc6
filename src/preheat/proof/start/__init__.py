"""Time one start of an app, observed from outside."""
