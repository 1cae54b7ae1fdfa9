"""What is in a data set, what is wrong with it, and what a network will see of it."""
