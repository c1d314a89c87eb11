"""What operators see of a worker: metrics, health, the watchdog, the web server."""
