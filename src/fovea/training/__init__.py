"""Training: one loop, the objectives, and the recipes of the embedded models."""
