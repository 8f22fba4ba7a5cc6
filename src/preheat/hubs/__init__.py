"""Where models come from: Hugging Face, ModelScope, a URL, a folder."""
