"""The command `pipeline init`: suggest a section `data` of `params.yaml` for the files in a folder."""
