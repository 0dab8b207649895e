"""Official scores of SQuAD, MRQA and HotpotQA."""
