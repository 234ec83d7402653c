"""The built-in world: pictures composed of glyphs, with everything about them known by construction."""
