"""Which small network is worth it, on real patients: its trainings, tables and verdicts."""
