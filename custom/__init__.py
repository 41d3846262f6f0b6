"""Your own networks and optimizers.

Put a module here, such as `custom/my_net.py`, and name it in `params.yaml`:

    model: {family: custom, import_path: custom.my_net:build, size_multiple: 2}

Every stage that builds a network depends on this folder, so DVC retrains after an edit. Keep modules and data files
that your code uses here too. docs/how-to/custom-code.md has an example.
"""
