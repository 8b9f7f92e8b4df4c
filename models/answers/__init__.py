"""The format of an answer: its grammar, its headings, and reading it back."""
