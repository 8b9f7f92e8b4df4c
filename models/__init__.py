"""The critic: what is asked, who answers, what comes back. Runs without ComfyUI."""
