"""Frozen models behind two thin classes: CLIP, which knows what, and SAM, which knows where things end."""
