"""A model as one ONNX graph that drops tokens inside, and running it without PyTorch."""
