"""One benchmark a module, each with its peers in the same run."""
