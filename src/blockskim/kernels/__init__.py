"""Fast functions of tensors: attention and linear layers; they know no model and no paper."""
