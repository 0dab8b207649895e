"""BlockSkimForQuestionAnswering: the dense and the ragged pass, the loss, FLOPs, checkpoints."""
