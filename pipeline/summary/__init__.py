"""The command `pipeline summary`: results of the grid as Markdown, JSON or CSV, and conditions for CI."""
