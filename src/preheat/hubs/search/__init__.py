"""Search: find the models on a hub whose names are like one that it does not have."""
