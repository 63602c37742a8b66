"""The paper's recipe in PyTorch, as a reference for the training step."""
