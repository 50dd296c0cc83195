"""Scenes × scales × a measure → labelled data, in memory or in a store, here or on a cluster."""
