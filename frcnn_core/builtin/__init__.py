"""Components of the TLT spec that need no package of their own; plugins like any other."""
