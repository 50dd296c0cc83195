"""See, measure and test the branch weights of Selective-Kernel networks."""
