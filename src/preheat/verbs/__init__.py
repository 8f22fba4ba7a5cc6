"""One file for each verb, with its steps in order. Start reading here."""
