"""Vision for any text model: an image tower and a trainable bridge beside a model that stays as it is."""
