"""What leaves fovea: JSON documents, overlays, the page that explains an answer."""
