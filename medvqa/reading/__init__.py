"""What people make of answers: first reads, reviews, signatures, addenda, and where that leaves an answer."""
