"""What the critic is asked: one YAML file a rubric, the code that reads them, and the import of other
people's wording.
"""
