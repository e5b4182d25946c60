"""What people look at: plots and the model card."""
