"""The systems of the paper's Table I and of its related work, on the same patients."""
