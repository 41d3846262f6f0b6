"""Other trainers of the same networks on the same images, one module each; each measures its images per second."""
