"""Library: prepare image files for a network, predict them in batches, and restore the original image size.

A served model contains copies of `onnx_prediction`, `preprocessing` and `tiles`, so these modules import nothing from
this project except `imaging`, and use relative imports.
"""
