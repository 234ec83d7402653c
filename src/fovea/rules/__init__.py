"""What the language adds to the matrix: relations between regions, and what every region looks like on average."""
