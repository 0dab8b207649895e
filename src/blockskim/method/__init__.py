"""The paper: blocks, features, predictors, losses and their settings; they know no model."""
