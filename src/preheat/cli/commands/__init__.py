"""One file a verb: its options as arguments of the verb's story."""
