"""Reading question-answering data and cutting it into windows."""
