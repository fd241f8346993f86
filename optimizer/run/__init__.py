"""One run: its folder, its settings, the best.json that it writes, and the check of an earlier one."""
