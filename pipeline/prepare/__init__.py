"""The stage that turns a source of images and masks into arrays that every run shares."""
