"""Views placed where apps look, without replacing a file of the user's."""
