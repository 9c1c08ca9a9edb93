"""Callbacks for Lightning and for Hugging Face transformers."""
