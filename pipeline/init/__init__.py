"""The `pipeline init` command: suggest the `data` section of `params.yaml` for the files in a folder."""
