"""TraceVLM as a model directory: the contract, its export from PyTorch and its run time."""
