"""Model sources: Hugging Face, ModelScope, a URL, a folder."""
