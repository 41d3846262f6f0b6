"""Other trainers on the same networks and images, a file each; each says how many images a second it trains."""
