"""QuestionAnswerer: questions and texts in, answers out, with what was read of each text."""
