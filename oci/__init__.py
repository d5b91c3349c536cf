"""OCI images and registries, with none of our nouns. Standard library only: the images that push
or pull carry a copy of this package."""
