"""The sections of the page: a module a section, with what its template is given and how that is made."""
