"""Classical measures of shape, for many images at once: one family of measures in each module."""
