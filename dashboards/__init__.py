"""Wall displays in Grafana, one module each, and the JSON they build."""
