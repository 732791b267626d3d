"""What every interval is built from: units, resampling, intervals, coverage notes, logistic fits, results."""
