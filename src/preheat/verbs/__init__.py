"""One story a file: what each verb does, in order. Start reading here."""
