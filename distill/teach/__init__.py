"""From the teacher's replies to the rows that a student is trained on."""
