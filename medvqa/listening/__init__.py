"""Listening: studies that others send are answered, and the results sent on, with nobody at the keyboard."""
