"""`vitals status`: what a deployment is doing, from the broker and from its workers' endpoints."""
