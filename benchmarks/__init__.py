"""What aiopcap costs, beside a bare C loop and the fastest Python bindings, in the same run."""
