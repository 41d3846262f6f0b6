"""The learning report, one self-contained HTML file."""
