"""What a run will be like: the pipeline's own protocols on a virtual clock."""
