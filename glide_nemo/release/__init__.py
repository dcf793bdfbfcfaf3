"""What leaves the house: the report of a run, made from artifact.json files alone."""
