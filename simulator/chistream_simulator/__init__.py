"""A chest that breathes and beats, and the scanner that looks at it."""
