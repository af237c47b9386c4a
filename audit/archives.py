"""Archives: bodies that left the table, in files that a key signed and that still give the tree's leaves."""
