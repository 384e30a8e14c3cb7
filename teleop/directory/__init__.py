"""Who is where: signed presence of sites and the view that a console keeps of them. Never in the control path (docs/scale.md)."""
