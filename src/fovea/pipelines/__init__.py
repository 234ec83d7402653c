"""Data made from data: pictures in, pictures with described regions out."""
