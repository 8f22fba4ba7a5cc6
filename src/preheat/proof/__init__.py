"""How much sooner an app is ready: measured, explained and reported."""
