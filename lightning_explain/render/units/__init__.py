"""Pictures of a layer and its units: rates, overlaps, features, exemplars."""
