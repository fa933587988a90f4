"""Constants, Fourier transforms, the dipole and the geometry."""
