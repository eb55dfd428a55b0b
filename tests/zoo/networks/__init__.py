"""Small networks as people write them."""
