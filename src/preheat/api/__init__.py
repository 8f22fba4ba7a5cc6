"""The Python API: each verb of the command as a function, with the same words and the same results."""
