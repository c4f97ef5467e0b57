"""A script for each claim about speed. See README.md in this folder."""
