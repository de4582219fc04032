"""Workloads that show Foedus at work; each trainer uses only what `import foedus` gives."""
