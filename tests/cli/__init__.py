"""The command line: what people type, as the arguments that verbs get."""
