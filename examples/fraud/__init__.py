"""Four banks find payment fraud together; each has seen one of its four patterns, and a fifth member only pretends."""
