"""A folder of images ranked: judged in batches, kept in a journal, put in order, on a contact sheet."""
