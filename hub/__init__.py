"""Models of Hugging Face: which files a commit has, which of them an engine loads, and how they
come here verified. Standard library only: images carry a copy of this package."""
