"""Place views in the folders where apps look for models, without replacing the user's files."""
