"""Check the networks of variants, measure their complexity, and format the table of `pipeline variants`."""
