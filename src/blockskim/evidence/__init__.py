"""What of given texts matters for a question: sentences to cite, texts cut to them, documents in order."""
