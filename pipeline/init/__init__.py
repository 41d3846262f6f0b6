"""The command `pipeline init`: suggest a section `data` from the files of a folder."""
