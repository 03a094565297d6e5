"""What a run must survive, and that watching it changes nothing."""
