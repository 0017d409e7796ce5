"""What the words of dialogues say, kept as numbers: copies, evaluation prompts, personal data, redaction, language."""
