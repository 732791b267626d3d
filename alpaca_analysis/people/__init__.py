"""People and judges: votes, agreement, reliability, calibration with human labels."""
