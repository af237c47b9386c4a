"""Earlier cases whose images look alike to a contrastive model, with what was signed about them."""
