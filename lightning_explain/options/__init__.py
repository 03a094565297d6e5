"""Options of methods, rules and monitors: what is common to all of them."""
