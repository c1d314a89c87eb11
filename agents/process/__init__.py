"""What every process of the product needs: its log, its metrics server, its version, child processes."""
