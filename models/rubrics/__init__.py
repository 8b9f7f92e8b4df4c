"""What the critic is asked: one YAML file per rubric, and the code that reads and imports them."""
