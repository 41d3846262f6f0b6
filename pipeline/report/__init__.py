"""The learning report: one HTML file that a person can hand in, print or mail."""
