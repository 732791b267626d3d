"""What else moves a judge: order, own family, noise, panels, cycles; one judge for another."""
