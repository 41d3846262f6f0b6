"""Data sets from the network and from archives, without trust."""
