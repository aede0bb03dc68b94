"""What leaves the cluster by itself: posts to servers that the settings name, and lines for a SIEM."""
