"""Torch modules that Hugging Face lacks, and the key maps of released checkpoints."""
