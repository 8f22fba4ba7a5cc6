"""One file per verb: convert its options, call the verb, and print the result."""
