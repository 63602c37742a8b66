"""What training on real JPEG files gains over training on the published operator."""
