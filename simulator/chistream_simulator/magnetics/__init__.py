"""The field that an object's susceptibility adds to B0, in closed form and by a forward model."""
