"""Test a network that was trained on synthetic CT on a real LiTS case."""
