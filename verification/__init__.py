"""One gate check in a straight line: policies, decisions."""
