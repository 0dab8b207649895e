"""From a recipe to a trained model: joint training, distillation included."""
