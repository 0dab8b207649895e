"""The method, which knows no model: blocks, predictors, losses, first stage, cost, confidence and evidence."""
