"""`vitals shadow`: what the live policy and a shadow policy have published, and making the shadow policy live."""
