"""The model card, and report.html of a distillation."""
