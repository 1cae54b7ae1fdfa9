"""What the values of a spec must be: one module for each section."""
