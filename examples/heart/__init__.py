"""Four hospitals predict heart disease together; the records are real and so are the differences between sites."""
