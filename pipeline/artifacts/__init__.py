"""Classes that read and write the folders of the stages; all file names and columns are defined here."""
