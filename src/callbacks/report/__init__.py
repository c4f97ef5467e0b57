"""The report of a test: a model card (Mitchell et al. 2019, arXiv 1810.03993) in Markdown and HTML."""

from src.callbacks.report.callback import Report

__all__ = ["Report"]
