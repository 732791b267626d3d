"""What follows from estimates that several statistics share: models compared and ranked as people would."""
