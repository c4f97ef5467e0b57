"""One script for each claim about speed; see README.md in this folder."""
