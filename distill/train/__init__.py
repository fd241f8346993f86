"""Training a LoRA adapter on the teacher's answers."""
