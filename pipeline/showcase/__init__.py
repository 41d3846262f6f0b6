"""The stage that cuts the user's own photographs out with the grid's best run; the report's head shows them."""
