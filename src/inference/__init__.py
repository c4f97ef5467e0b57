"""What one does with a trained network: predict on files, export it, show it."""
