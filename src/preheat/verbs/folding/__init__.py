"""`fold`: one copy of each model file for all apps: plan, fold, journal and undo."""
