"""Recognition of published layouts of images and masks, one module per layout; `table` lists them."""
