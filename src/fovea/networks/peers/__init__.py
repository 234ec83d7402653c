"""What is trained beside a frozen captioner and taken away again: one kind per file. specs/pin.md, 2, 7."""
