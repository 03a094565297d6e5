"""The strategies of an attribution monitor: its larger sample, what is found in it, and what is logged of that."""
