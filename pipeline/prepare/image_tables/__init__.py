"""Images in columns of Parquet and Arrow files, as Hugging Face's `datasets` writes them."""
