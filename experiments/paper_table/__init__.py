"""The tables of the paper, measured beside what was published, given its weights and ImageNet."""
